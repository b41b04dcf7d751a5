// Small matrices, row-major in flat arrays, and their nearest ones of a low rank, as plainly as it goes.

/** left @ right of [height, inner] and [inner, width]. */
export function product(left, right, [height, inner, width]) {
  const out = new Float64Array(height * width);
  for (let row = 0; row < height; row++) {
    for (let k = 0; k < inner; k++) {
      for (let column = 0; column < width; column++) out[row * width + column] += left[row * inner + k] * right[k * width + column];
    }
  }
  return out;
}

const SWEEPS = 60;

/**
 * The nearest matrix of a rank to `matrix`, [height, width] with height >= width. Columns are rotated in pairs until all are
 * at right angles (one-sided Jacobi: Hestenes 1958); their lengths are the singular values then, and the longest are kept.
 */
export function nearest(matrix, [height, width], rank) {
  const vectors = (length, value) => Array.from({ length: width }, (_, column) => Float64Array.from({ length }, (_, row) => value(row, column)));
  const columns = vectors(height, (row, column) => matrix[row * width + column]);
  const rotations = vectors(width, (row, column) => Number(row === column));
  const dot = (one, other) => one.reduce((sum, value, index) => sum + value * other[index], 0);
  const rotate = (vectors, p, q, cosine, sine) => {
    vectors[p].forEach((value, index) => {
      const other = vectors[q][index];
      vectors[p][index] = cosine * value - sine * other;
      vectors[q][index] = sine * value + cosine * other;
    });
  };
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    for (let p = 0; p < width; p++) {
      for (let q = p + 1; q < width; q++) {
        const [a, b, c] = [dot(columns[p], columns[p]), dot(columns[q], columns[q]), dot(columns[p], columns[q])];
        if (Math.abs(c) <= 1e-16 * Math.sqrt(a * b)) continue;
        const zeta = (b - a) / (2 * c);
        const tangent = (zeta < 0 ? -1 : 1) / (Math.abs(zeta) + Math.hypot(1, zeta));
        const cosine = 1 / Math.hypot(1, tangent);
        rotate(columns, p, q, cosine, cosine * tangent);
        rotate(rotations, p, q, cosine, cosine * tangent);
      }
    }
  }
  const parts = columns.map((column, index) => ({ column, rotation: rotations[index], length: dot(column, column) }));
  const kept = parts.sort((one, other) => other.length - one.length).slice(0, rank);
  const out = new Float64Array(height * width);
  for (const { column, rotation } of kept) {
    out.forEach((_, index) => (out[index] += column[Math.floor(index / width)] * rotation[index % width]));
  }
  return out;
}
