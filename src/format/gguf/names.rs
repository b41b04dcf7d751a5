//! The names of tensors in a Hugging Face checkpoint and in a GGUF, by architecture, and what llama.cpp's converter changes
//! about their values (`gguf-py/gguf/tensor_mapping.py` and `conversion/` of llama.cpp).

/// The names of an architecture's tensors on both sides.
#[derive(Debug)]
pub struct Names {
    /// `general.architecture`, and the prefix of the keys that are the architecture's own.
    pub architecture: &'static str,
    /// What the family is called in `config.json`: its `model_type`s, the first of which stands for a GGUF.
    pub model_types: &'static [&'static str],
    /// Whether llama.cpp turns neighbouring values of a head, so that the rows of queries and keys are in another order.
    pub permutes: bool,
    /// Whether the norms are stored as the factor and not as the factor less one.
    pub norms_plus_one: bool,
    /// Paths within a layer.
    layer: &'static [(&'static str, &'static str)],
}

/// Which heads the rows of a tensor belong to whose order differs between the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heads {
    Queries,
    Keys,
}

static OUTER: [(&str, &str); 3] =
    [("model.embed_tokens", "token_embd"), ("model.norm", "output_norm"), ("lm_head", "output")];
const HF_LAYERS: &str = "model.layers.";
const GGUF_LAYERS: &str = "blk.";

const LLAMA: &[(&str, &str)] = &[
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];
const QWEN3: &[(&str, &str)] = &[
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("self_attn.o_proj", "attn_output"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];
const GEMMA3: &[(&str, &str)] = &[
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("self_attn.o_proj", "attn_output"),
    ("post_attention_layernorm", "post_attention_norm"),
    ("pre_feedforward_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
    ("post_feedforward_layernorm", "post_ffw_norm"),
];
/// Gate and up are one tensor, with the gate's rows first.
const PHI3: &[(&str, &str)] = &[
    ("input_layernorm", "attn_norm"),
    ("self_attn.qkv_proj", "attn_qkv"),
    ("self_attn.o_proj", "attn_output"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

const PLAIN: Names =
    Names { architecture: "", model_types: &[], permutes: false, norms_plus_one: false, layer: LLAMA };

static ALL: [Names; 7] = [
    Names {
        architecture: "gemma3",
        model_types: &["gemma3_text", "gemma3"],
        norms_plus_one: true,
        layer: GEMMA3,
        ..PLAIN
    },
    Names { architecture: "granite", model_types: &["granite"], permutes: true, ..PLAIN },
    Names { architecture: "llama", model_types: &["llama", "mistral"], permutes: true, ..PLAIN },
    Names { architecture: "phi3", model_types: &["phi3"], layer: PHI3, ..PLAIN },
    Names { architecture: "qwen2", model_types: &["qwen2"], ..PLAIN },
    Names { architecture: "qwen3", model_types: &["qwen3"], layer: QWEN3, ..PLAIN },
    Names { architecture: "smollm3", model_types: &["smollm3"], permutes: true, ..PLAIN },
];

impl Names {
    /// Of all architectures that are known.
    pub fn all() -> &'static [Names] {
        &ALL
    }

    /// Of a GGUF's `general.architecture`.
    pub fn of_architecture(architecture: &str) -> Option<&'static Names> {
        ALL.iter().find(|names| names.architecture == architecture)
    }

    /// Of a `model_type` of `config.json`.
    pub fn of_model_type(model_type: &str) -> Option<&'static Names> {
        ALL.iter().find(|names| names.model_types.contains(&model_type))
    }

    /// `model.layers.3.self_attn.q_proj.weight` becomes `blk.3.attn_q.weight`; `None` for a tensor that a GGUF of this
    /// architecture does not have.
    pub fn to_gguf(&self, name: &str) -> Option<String> {
        self.translated(name, [HF_LAYERS, GGUF_LAYERS], |(hf, gguf)| [hf, gguf])
    }

    /// The other way: `blk.3.attn_q.weight` becomes `model.layers.3.self_attn.q_proj.weight`.
    pub fn to_hf(&self, name: &str) -> Option<String> {
        self.translated(name, [GGUF_LAYERS, HF_LAYERS], |(hf, gguf)| [gguf, hf])
    }

    /// From one side to the other: `sides` gives a pair of names in this order.
    fn translated(
        &self,
        name: &str,
        [from, to]: [&str; 2],
        sides: fn(&'static (&'static str, &'static str)) -> [&'static str; 2],
    ) -> Option<String> {
        let (path, suffix) = name.rsplit_once('.')?;
        if let Some([_, outer]) = OUTER.iter().map(sides).find(|[own, _]| *own == path) {
            return Some(format!("{outer}.{suffix}"));
        }
        let (number, path) = path.strip_prefix(from)?.split_once('.')?;
        let [_, inner] = self.layer.iter().map(sides).find(|[own, _]| *own == path)?;
        is_number(number).then(|| format!("{to}{number}.{inner}.{suffix}"))
    }

    /// The heads whose rows [`gguf_row`] puts elsewhere, for a tensor (or the B of its LoRA) by its Hugging Face name.
    pub fn permuted(&self, name: &str) -> Option<Heads> {
        let heads = [(".self_attn.q_proj.", Heads::Queries), (".self_attn.k_proj.", Heads::Keys)];
        let found = heads.into_iter().find(|(path, _)| name.contains(path))?;
        self.permutes.then_some(found.1)
    }

    /// Whether a GGUF holds the values of this tensor, by its Hugging Face name, plus one.
    pub fn is_plus_one(&self, name: &str) -> bool {
        self.norms_plus_one && name.ends_with("norm.weight")
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'))
}

/// Where row `row` of a Hugging Face tensor whose rows are permuted lies in a GGUF: the halves of a head, which turn
/// together, are interleaved.
pub const fn gguf_row(row: usize, head_dim: usize) -> usize {
    let (head, within) = (row / head_dim, row % head_dim);
    let half = head_dim / 2;
    head * head_dim + 2 * (within % half) + within / half
}

/// The other way.
pub const fn hf_row(row: usize, head_dim: usize) -> usize {
    let (head, within) = (row / head_dim, row % head_dim);
    head * head_dim + within % 2 * (head_dim / 2) + within / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for names in Names::all() {
            for (hf, gguf) in names.layer {
                for suffix in ["weight", "bias"] {
                    let (hf, gguf) =
                        (format!("model.layers.12.{hf}.{suffix}"), format!("blk.12.{gguf}.{suffix}"));
                    assert_eq!(names.to_gguf(&hf).as_deref(), Some(gguf.as_str()));
                    assert_eq!(names.to_hf(&gguf).as_deref(), Some(hf.as_str()));
                }
            }
            assert_eq!(names.to_gguf("lm_head.weight").as_deref(), Some("output.weight"));
            assert_eq!(names.to_hf("token_embd.weight").as_deref(), Some("model.embed_tokens.weight"));
            for strange in ["blk.x.attn_q.weight", "blk.01.attn_q.weight", "rope_freqs.weight", "output", ""]
            {
                assert_eq!(names.to_hf(strange), None, "{strange}");
            }
        }
    }

    #[test]
    fn rows_are_interleaved_within_their_head() {
        // `permute` of llama.cpp's converter on the rows 0..16 of two heads of eight.
        let wanted = [0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15];
        for (row, &from) in wanted.iter().enumerate() {
            assert_eq!(hf_row(row, 8), from);
            assert_eq!(gguf_row(from, 8), row);
        }
    }
}
