import { expect, it } from 'vitest';
import { compressionRatio } from '../../lib/generation/whisper_quality.js';

// len(zlib.compress(…)) of Python 3 with zlib 1.2.13, of the inputs that the test makes.
const expected = [
  334, 168, 343, 301, 267, 17, 190, 351, 223, 70, 36, 282, 178, 124, 395, 207, 167, 112, 91, 685, 545, 139, 136, 643,
  71, 17, 24, 291, 311, 14, 46, 181, 541, 138, 560, 497, 403, 183, 420, 149, 175, 62, 215, 499, 465, 16, 365, 342, 75,
  45, 83, 452, 595, 104, 146, 515, 158, 30, 192, 475,
];

it('counts what zlib makes of lists of ids', () => {
  let state = 1;
  const random = (n: number): number => {
    state = Number((BigInt(state) * 1_103_515_245n + 12_345n) % 2n ** 31n);
    return (state >> 8) % n;
  };
  const sizes = expected.map((_, k) => {
    const n = 1 + random(448);
    const kinds = [448, 4, 40, 300][k % 4]!;
    const width = 1 + (k % 3);
    const words = Array.from({ length: 1 + random(kinds) }, () => random(51_865));
    const ids = Array.from({ length: n }, (_, i) => words[k % 5 === 0 ? i % words.length : random(words.length)]!);
    const vocab = 256 ** width - 1; // so many bytes to an id
    const cut = ids.map((id) => id % 256 ** width);
    return (n * width) / compressionRatio(cut, vocab);
  });
  for (const [i, size] of sizes.entries()) expect(size).toBeCloseTo(expected[i]!, 9);
});
