/** Every op once more in plain float64, as its formula says: what the kernels are compared with. */

type Numbers = ArrayLike<number>;

/** x (rows, groups · cols), weight (cols). */
export function rmsNorm(x: Numbers, weight: Numbers, eps: number, offset = 0): Float64Array {
  const cols = weight.length;
  const y = new Float64Array(x.length);
  for (let r = 0; r < x.length; r += cols) {
    let sum = 0;
    for (let c = 0; c < cols; c++) sum += x[r + c]! ** 2;
    for (let c = 0; c < cols; c++) y[r + c] = (x[r + c]! / Math.sqrt(sum / cols + eps)) * (offset + weight[c]!);
  }
  return y;
}

/** x (rows, cols), weight and bias (cols). */
export function layerNorm(x: Numbers, weight: Numbers, bias: Numbers | undefined, eps: number): Float64Array {
  const cols = weight.length;
  const y = new Float64Array(x.length);
  for (let r = 0; r < x.length; r += cols) {
    const row = Float64Array.from({ length: cols }, (_, c) => x[r + c]!);
    const mean = row.reduce((a, b) => a + b, 0) / cols;
    const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / cols;
    for (let c = 0; c < cols; c++)
      y[r + c] = ((row[c]! - mean) / Math.sqrt(variance + eps)) * weight[c]! + (bias?.[c] ?? 0);
  }
  return y;
}

/** a (m, k), b (n, k) or, not transposed, (k, n) → (m, n). */
export function matmul(a: Numbers, b: Numbers, m: number, k: number, n: number, transposed: boolean): Float64Array {
  const y = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let c = 0; c < k; c++) sum += a[i * k + c]! * (transposed ? b[j * k + c]! : b[c * n + j]!);
      y[i * n + j] = sum;
    }
  }
  return y;
}

/** x weightᵀ + bias: x (rows, k), weight (n, k). */
export function linear(
  x: Numbers,
  weight: Numbers,
  bias: Numbers | undefined,
  rows: number,
  k: number,
  n: number,
): Float64Array {
  return matmul(x, weight, rows, k, n, true).map((v, i) => v + (bias?.[i % n] ?? 0));
}

export function softmax(x: Numbers, cols: number): Float64Array {
  const y = new Float64Array(x.length);
  for (let r = 0; r < x.length; r += cols) {
    let [max, sum] = [Number.NEGATIVE_INFINITY, 0];
    for (let c = 0; c < cols; c++) max = Math.max(max, x[r + c]!);
    for (let c = 0; c < cols; c++) sum += Math.exp(x[r + c]! - max);
    for (let c = 0; c < cols; c++) y[r + c] = Math.exp(x[r + c]! - max) / sum;
  }
  return y;
}

/** log softmax(logits)[target] per row. */
export function tokenLogprob(logits: Numbers, targets: Numbers, vocab: number): Float64Array {
  return Float64Array.from(targets, (target, r) => {
    const row = Float64Array.from({ length: vocab }, (_, v) => logits[r * vocab + v]!);
    const max = row.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
    return row[target]! - max - Math.log(row.reduce((a, v) => a + Math.exp(v - max), 0));
  });
}

/** erfc for x ≥ 0: the Taylor series of erf below 2, the continued fraction (Abramowitz & Stegun 7.1.14) above. */
function erfc(x: number): number {
  if (x < 2) {
    let [term, sum] = [x, x];
    for (let n = 1; n < 80; n++) {
      term *= (-x * x) / n;
      sum += term / (2 * n + 1);
    }
    return 1 - (2 / Math.sqrt(Math.PI)) * sum;
  }
  let tail = 0;
  for (let n = 120; n >= 1; n--) tail = n / 2 / (x + tail);
  return Math.exp(-x * x) / Math.sqrt(Math.PI) / (x + tail);
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

export const activations: Readonly<Record<string, (x: number) => number>> = {
  gelu: (x) => 0.5 * x * (x < 0 ? erfc(-x / Math.SQRT2) : 2 - erfc(x / Math.SQRT2)),
  gelu_tanh: (x) => x * sigmoid(2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)),
  silu: (x) => x * sigmoid(x),
  quick_gelu: (x) => x * sigmoid(1.702 * x),
  relu: (x) => Math.max(0, x),
  tanh: Math.tanh,
  sigmoid,
  exp: Math.exp,
};

/** Half cosines, half sines per row: positions (rows), one row of frequencies per row. */
export function ropeTable(
  positions: Numbers,
  frequencies: (row: number) => Numbers,
  scaling: (row: number) => number,
): Float64Array {
  const rows = Array.from(positions, (p, r) => {
    const angles = Array.from(frequencies(r), (f) => p * f);
    return [...angles.map((a) => Math.cos(a) * scaling(r)), ...angles.map((a) => Math.sin(a) * scaling(r))];
  });
  return Float64Array.from(rows.flat());
}

/** x (rows, heads · headDim), table (rows, 2 · half). */
export function rope(
  x: Numbers,
  table: Numbers,
  cols: number,
  headDim: number,
  half: number,
  interleaved: boolean,
): Float64Array {
  const y = Float64Array.from(x);
  for (let head = 0; head < x.length; head += headDim) {
    const row = Math.floor(head / cols);
    for (let i = 0; i < half; i++) {
      const [first, second] = interleaved ? [head + 2 * i, head + 2 * i + 1] : [head + i, head + i + half];
      const [cosine, sine] = [table[row * 2 * half + i]!, table[row * 2 * half + half + i]!];
      y[first] = x[first]! * cosine - x[second]! * sine;
      y[second] = x[second]! * cosine + x[first]! * sine;
    }
  }
  return y;
}

export interface Attention {
  readonly rows: number;
  readonly keys: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly scale: number;
  readonly softcap?: number;
  /** May row i see key j? */
  readonly sees: (i: number, j: number) => boolean;
  readonly bias?: Numbers;
}

/** One sequence: q (rows, heads · headDim), k and v (keys, kvHeads · headDim) → y like q and the weights (heads, rows, keys). */
export function attention(q: Numbers, k: Numbers, v: Numbers, a: Attention): { y: Float64Array; probs: Float64Array } {
  const [y, probs] = [new Float64Array(a.rows * a.heads * a.headDim), new Float64Array(a.heads * a.rows * a.keys)];
  const [wide, narrow] = [a.heads * a.headDim, a.kvHeads * a.headDim];
  for (let h = 0; h < a.heads; h++) {
    const [from, kv] = [h * a.headDim, Math.floor(h / (a.heads / a.kvHeads)) * a.headDim];
    for (let i = 0; i < a.rows; i++) {
      const seen = Array.from({ length: a.keys }, (_, j) => j).filter((j) => a.sees(i, j));
      const scores = seen.map((j) => {
        let dot = 0;
        for (let d = 0; d < a.headDim; d++) dot += q[i * wide + from + d]! * k[j * narrow + kv + d]!;
        const s = dot * a.scale;
        return (
          (a.softcap === undefined ? s : a.softcap * Math.tanh(s / a.softcap)) +
          (a.bias?.[(h * a.rows + i) * a.keys + j] ?? 0)
        );
      });
      const weights = softmax(scores, scores.length);
      for (const [n, j] of seen.entries()) {
        probs[(h * a.rows + i) * a.keys + j] = weights[n]!;
        for (let d = 0; d < a.headDim; d++) y[i * wide + from + d]! += weights[n]! * v[j * narrow + kv + d]!;
      }
    }
  }
  return { y, probs };
}

export interface Experts {
  readonly rows: number;
  readonly hidden: number;
  readonly ffn: number;
  readonly experts: number;
  readonly top: number;
  readonly normalise: boolean;
  readonly fn: (x: number) => number;
}

/** x (rows, hidden), router (rows, experts), gate and up (experts · ffn, hidden), down (experts · hidden, ffn) → y like x. */
export function moe(
  x: Numbers,
  router: Numbers,
  gate: Float64Array,
  up: Float64Array,
  down: Float64Array,
  m: Experts,
): Float64Array {
  const y = new Float64Array(m.rows * m.hidden);
  const p = softmax(router, m.experts);
  const part = (w: Float64Array, expert: number, n: number, k: number): Float64Array =>
    w.subarray(expert * n * k, (expert + 1) * n * k);
  for (let r = 0; r < m.rows; r++) {
    const row = p.slice(r * m.experts, (r + 1) * m.experts);
    const chosen = [...row.keys()].sort((a, b) => row[b]! - row[a]! || a - b).slice(0, m.top);
    const total = m.normalise ? chosen.reduce((sum, e) => sum + row[e]!, 0) : 1;
    const own = Array.from({ length: m.hidden }, (_, c) => x[r * m.hidden + c]!);
    for (const e of chosen) {
      const g = linear(own, part(gate, e, m.ffn, m.hidden), undefined, 1, m.hidden, m.ffn);
      const u = linear(own, part(up, e, m.ffn, m.hidden), undefined, 1, m.hidden, m.ffn);
      const mid = g.map((v, i) => m.fn(v) * u[i]!);
      const d = linear(mid, part(down, e, m.hidden, m.ffn), undefined, 1, m.ffn, m.hidden);
      for (const [c, v] of d.entries()) y[r * m.hidden + c]! += (row[e]! / total) * v;
    }
  }
  return y;
}
