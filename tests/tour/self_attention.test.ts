/** The tables of the self-attention chapter, to the four decimals that are printed. */
import { expect, it } from 'vitest';
import type { NdArray } from '../../lib/index.js';
import { heads, simple, trainable } from '../../lib/tour/self_attention.js';
import { TorchRandom } from '../../lib/tour/torch_random.js';

function expectTable(
  found: NdArray | undefined,
  expected: readonly (readonly number[])[],
  rows = [0, 1, 2, 3, 4, 5],
): void {
  const cols = found!.shape.at(-1)!;
  const made = rows.map((r) => Array.from(found!.data.subarray(r * cols, (r + 1) * cols)));
  for (const [r, row] of expected.entries()) {
    expect(made[r]).toHaveLength(row.length);
    for (const [c, value] of row.entries()) expect(Math.abs(made[r]![c]! - value), `[${r}][${c}]`).toBeLessThan(6e-5);
  }
}

it('random numbers are those of torch.manual_seed', () => {
  const w = new TorchRandom(123).rand(6);
  expectTable(
    { data: w, shape: [3, 2] },
    [
      [0.2961, 0.5166],
      [0.2517, 0.6886],
      [0.074, 0.8665],
    ],
    [0, 1, 2],
  );
});

it('simple self-attention', async () => {
  const { scores, weights, contexts } = await simple();
  // biome-ignore lint/suspicious/noApproximativeNumericConstant: 0.707 is a score of the chapter
  expectTable(scores, [[0.9544, 1.495, 1.4754, 0.8434, 0.707, 1.0865]], [1]);
  expectTable(weights, [[0.1385, 0.2379, 0.2333, 0.124, 0.1082, 0.1581]], [1]);
  expectTable(contexts, [
    [0.4421, 0.5931, 0.579],
    [0.4419, 0.6515, 0.5683],
    [0.4431, 0.6496, 0.5671],
    [0.4304, 0.6298, 0.551],
    [0.4671, 0.591, 0.5266],
    [0.4177, 0.6503, 0.5645],
  ]);
});

it('with trainable weights', async () => {
  const { q, scores, weights, contexts } = await trainable();
  expectTable(q, [[0.4306, 1.4551]], [1]);
  expectTable(scores, [[1.2705, 1.8524, 1.8111, 1.0795, 0.5577, 1.544]], [1]);
  expectTable(weights, [[0.15, 0.2264, 0.2199, 0.1311, 0.0906, 0.182]], [1]);
  expectTable(contexts, [
    [0.2996, 0.8053],
    [0.3061, 0.821],
    [0.3058, 0.8203],
    [0.2948, 0.7939],
    [0.2927, 0.7891],
    [0.299, 0.804],
  ]);
});

it('as linear layers', async () => {
  const { contexts } = await heads({ seed: 789, causal: false });
  expectTable(contexts, [
    [-0.0739, 0.0713],
    [-0.0748, 0.0703],
    [-0.0749, 0.0702],
    [-0.076, 0.0685],
    [-0.0763, 0.0679],
    [-0.0754, 0.0693],
  ]);
  const { weights0 } = await heads({ seed: 789, causal: true });
  expectTable(
    weights0,
    [
      [0.5517, 0.4483, 0, 0, 0, 0],
      [0.38, 0.3097, 0.3103, 0, 0, 0],
    ],
    [1, 2],
  );
  expectTable(weights0, [[0.1935, 0.1663, 0.1666, 0.1542, 0.1666, 0.1529]], [5]);
});

const first = [
  [-0.4519, 0.2216],
  [-0.5874, 0.0058],
  [-0.63, -0.0632],
  [-0.5675, -0.0843],
  [-0.5526, -0.0981],
  [-0.5299, -0.1081],
];
const second = [
  [0.4772, 0.1063],
  [0.5891, 0.3257],
  [0.6202, 0.386],
  [0.5478, 0.3589],
  [0.5321, 0.3428],
  [0.5077, 0.3493],
];

it('causal attention, and two of them side by side', async () => {
  const { contexts, weights0 } = await heads({ seed: 123, causal: true });
  expectTable(contexts, first);
  for (let r = 0; r < 6; r++)
    expect(weights0!.data.subarray(6 * r + r + 1, 6 * r + 6).every((w) => w === 0)).toBe(true);
  const both = await heads({ seed: 123, causal: true, modules: 2 });
  expectTable(
    both.contexts,
    first.map((row, i) => [...row, ...second[i]!]),
  );
});

it('multi-head attention with its output projection', async () => {
  const { contexts } = await heads({ seed: 123, causal: true, heads: 2 });
  expectTable(contexts, [
    [0.319, 0.4858],
    [0.2943, 0.3897],
    [0.2856, 0.3593],
    [0.2693, 0.3873],
    [0.2639, 0.3928],
    [0.2575, 0.4028],
  ]);
});
