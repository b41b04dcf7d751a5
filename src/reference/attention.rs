//! Twin of [`crate::kernels::attention`], with the whole row of weights at hand.

use num_traits::Float;

use crate::kernels::attention::Params;

/// Output [rows, out_stride] and log-sum-exp [rows, q_heads] of attention from `q` to `kv`, where
/// row m sees the keys `spans[m][0]..spans[m][1]`.
pub fn forward<F: Float>(params: &Params, q: &[F], kv: &[F], spans: &[[u32; 2]]) -> (Vec<F>, Vec<F>) {
    let (rows, heads) = (params.rows as usize, params.q_heads as usize);
    let mut out = vec![F::zero(); rows * params.out_stride as usize];
    let mut lse = vec![F::zero(); rows * heads];
    for row in 0..rows {
        for head in 0..heads {
            let Some((weights, log_sum)) = weights(params, q, kv, spans[row], row, head) else { continue };
            lse[row * heads + head] = log_sum;
            for (key, weight) in (spans[row][0]..).zip(weights) {
                let value = &kv[value_at(params, key as usize, head)..];
                for d in 0..params.head_dim as usize {
                    let at = out_at(params, row, head) + d;
                    out[at] = out[at] + weight * value[d];
                }
            }
        }
    }
    (out, lse)
}

/// Gradient [rows, kv_stride] of `qkv`, given that of the output, by the derivative of softmax:
/// ds = p · (dp − Σ p·dp).
pub fn backward<F: Float>(params: &Params, qkv: &[F], dout: &[F], spans: &[[u32; 2]]) -> Vec<F> {
    let dim = params.head_dim as usize;
    let scale = F::from(params.scale).expect("a float");
    let mut dqkv = vec![F::zero(); params.rows as usize * params.kv_stride as usize];
    for row in 0..params.rows as usize {
        for head in 0..params.q_heads as usize {
            let Some((weights, _)) = weights(params, qkv, qkv, spans[row], row, head) else { continue };
            let gradient = &dout[out_at(params, row, head)..][..dim];
            let query = query_at(params, row, head);
            let keys = spans[row][0] as usize..spans[row][1] as usize;
            let slopes: Vec<F> =
                keys.clone().map(|key| dot(gradient, &qkv[value_at(params, key, head)..][..dim])).collect();
            let mean = dot(&weights, &slopes);
            for ((key, weight), slope) in keys.zip(weights).zip(slopes) {
                let ds = scale * weight * (slope - mean);
                let (k, v) = (key_at(params, key, head), value_at(params, key, head));
                for d in 0..dim {
                    dqkv[query + d] = dqkv[query + d] + ds * qkv[k + d];
                    dqkv[k + d] = dqkv[k + d] + ds * qkv[query + d];
                    dqkv[v + d] = dqkv[v + d] + weight * gradient[d];
                }
            }
        }
    }
    dqkv
}

/// Softmax over the span of `row`, and the log-sum-exp; nothing where the span is empty.
fn weights<F: Float>(
    params: &Params,
    q: &[F],
    kv: &[F],
    span: [u32; 2],
    row: usize,
    head: usize,
) -> Option<(Vec<F>, F)> {
    let dim = params.head_dim as usize;
    let scale = F::from(params.scale).expect("a float");
    let query = &q[query_at(params, row, head)..][..dim];
    let scores: Vec<F> = (span[0]..span[1])
        .map(|key| scale * dot(query, &kv[key_at(params, key as usize, head)..][..dim]))
        .collect();
    let peak = scores.iter().copied().reduce(F::max)?;
    let sum = scores.iter().fold(F::zero(), |sum, &score| sum + (score - peak).exp());
    let log_sum = peak + sum.ln();
    Some((scores.into_iter().map(|score| (score - log_sum).exp()).collect(), log_sum))
}

fn dot<F: Float>(a: &[F], b: &[F]) -> F {
    a.iter().zip(b).fold(F::zero(), |sum, (&a, &b)| sum + a * b)
}

fn query_at(params: &Params, row: usize, head: usize) -> usize {
    row * params.q_stride as usize + params.q_offset as usize + head * params.head_dim as usize
}

fn key_at(params: &Params, key: usize, head: usize) -> usize {
    let kv_head = head / (params.q_heads / params.kv_heads) as usize;
    key * params.kv_stride as usize + params.k_offset as usize + kv_head * params.head_dim as usize
}

fn value_at(params: &Params, key: usize, head: usize) -> usize {
    key_at(params, key, head) - params.k_offset as usize + params.v_offset as usize
}

fn out_at(params: &Params, row: usize, head: usize) -> usize {
    row * params.out_stride as usize + head * params.head_dim as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::finite_difference::check_gradient;

    /// Four query heads on two key/value heads of four features, with pad lanes in every row.
    const PARAMS: Params = Params {
        rows: 7,
        q_stride: 40,
        q_offset: 0,
        kv_stride: 40,
        k_offset: 16,
        v_offset: 28,
        out_stride: 24,
        q_heads: 4,
        kv_heads: 2,
        head_dim: 4,
        scale: 0.5,
        first_row: 0,
    };
    /// A segment of three, a segment of three with a window of two, a dead row.
    const SPANS: [[u32; 2]; 7] = [[0, 1], [0, 2], [0, 3], [3, 4], [3, 5], [4, 6], [0, 0]];

    fn wave(n: usize, step: f64) -> Vec<f64> {
        (0..n).map(|i| 1.5 * (i as f64 * step).sin()).collect()
    }

    #[test]
    fn one_key_gives_its_value() {
        let qkv = wave(280, 0.7);
        let (out, lse) = forward(&PARAMS, &qkv, &qkv, &SPANS);
        for head in 0..4 {
            let value = &qkv[3 * 40 + 28 + head / 2 * 4..][..4];
            let got = &out[3 * 24 + head * 4..][..4];
            assert!(
                got.iter().zip(value).all(|(a, b)| (a - b).abs() < 1e-15),
                "head {head}: {got:?}, {value:?}"
            );
        }
        assert!(out[6 * 24..].iter().chain(&lse[6 * 4..]).all(|&x| x == 0.0), "a dead row is 0");
    }

    #[test]
    fn weights_are_those_of_softmax() {
        let params = Params { rows: 1, q_heads: 1, kv_heads: 1, out_stride: 8, scale: 1.0, ..PARAMS };
        let mut kv = vec![0.0; 120];
        for (key, score) in [0.0, 2f64.ln(), 5f64.ln()].into_iter().enumerate() {
            kv[key * 40 + 16] = score;
            kv[key * 40 + 28 + key] = 1.0;
        }
        let mut q = vec![0.0; 40];
        q[0] = 1.0;
        let (out, lse) = forward(&params, &q, &kv, &[[0, 3]]);
        let want = [0.125, 0.25, 0.625, 0.0];
        assert!(out[..4].iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-15), "{out:?}");
        assert!((lse[0] - 8f64.ln()).abs() < 1e-15, "{lse:?}");
    }

    #[test]
    fn backward_is_the_gradient() {
        let (qkv, dout) = (wave(280, 0.7), wave(168, 1.3));
        let gradient = backward(&PARAMS, &qkv, &dout, &SPANS);
        let loss = |x: &[f64]| dot(&forward(&PARAMS, x, x, &SPANS).0, &dout);
        check_gradient(loss, &qkv, &gradient, 1e-7);
    }
}
