import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { load } from '../../lib/index.js';
import { readGguf } from '../../lib/weights/gguf.js';
import { testDevices } from '../support/run_op.js';
import { error } from '../support/safetensors.js';
import { sharedModels } from '../support/shared.js';

const shared = sharedModels();
const gguf = join(shared ?? '', 'stories260K/stories260K.gguf');

interface Golden {
  readonly greedy_ids: readonly number[];
  /** By position of the input token. */
  readonly logits: Readonly<Record<string, readonly number[]>>;
}

/** Tensors of the llama2.c file in order: name in GGUF, elements. Header: 7 ints; a positive vocabulary means a shared head. */
function llama2c(bytes: Buffer): { name: string; data: Float32Array }[] {
  const [dim, hidden, layers, heads, kvHeads, vocab] = Array.from({ length: 6 }, (_, i) => bytes.readInt32LE(4 * i));
  const kv = (dim! / heads!) * kvHeads!;
  const perLayer: [string, number][] = [
    ['attn_norm', dim!],
    ['attn_q', dim! * dim!],
    ['attn_k', dim! * kv],
    ['attn_v', dim! * kv],
    ['attn_output', dim! * dim!],
    ['ffn_norm', dim!],
    ['ffn_gate', dim! * hidden!],
    ['ffn_down', dim! * hidden!],
    ['ffn_up', dim! * hidden!],
  ];
  let at = 28;
  const take = (name: string, count: number): { name: string; data: Float32Array } => {
    const part = bytes.subarray(at, at + 4 * count);
    at += 4 * count;
    return { name: `${name}.weight`, data: Float32Array.from({ length: count }, (_, i) => part.readFloatLE(4 * i)) };
  };
  const made = [take('token_embd', vocab! * dim!)];
  for (const [name, count] of perLayer) for (let l = 0; l < layers!; l++) made.push(take(`blk.${l}.${name}`, count));
  made.push(take('output_norm', dim!));
  return made;
}

describe.skipIf(shared === undefined)('stories260K (skips without the shared models)', () => {
  for (const device of testDevices()) {
    it(`GGUF F32 on ${device}: 200 greedy steps from BOS, logits on the way`, async () => {
      const golden = JSON.parse(readFileSync(join(shared!, 'goldens/stories260K.json'), 'utf8')) as Golden;
      await using model = await load(gguf, { device, threads: 1 });
      const made = await model.generate([1], { greedy: true, maxTokens: 200, ignoreEos: true }).result();
      expect(made.ids).toEqual(golden.greedy_ids.slice(1));
      expect(made.ids.slice(0, 15)).toEqual([
        403, 407, 261, 378, 432, 383, 286, 261, 376, 298, 315, 421, 395, 317, 426,
      ]);
      expect(made.text.trimStart()).toMatch(
        /^Once upon a time, there was a little girl named Lily\. She loved to play outside in the park\. One day, she saw a big, red ball\. /,
      );
      const { logits } = await model.forward({ inputIds: golden.greedy_ids.slice(0, 200) });
      for (const [position, expected] of Object.entries(golden.logits)) {
        const row = logits.subarray(512 * Number(position), 512 * (Number(position) + 1));
        expect(error(row, expected), `logits at ${position}`).toBeLessThan(1e-4);
      }
      const printed = { 403: 17.02352, 385: 15.40621, 410: 13.10826, 317: 12.76917, 407: 12.41809 };
      for (const [id, logit] of Object.entries(printed)) expect(logits[Number(id)]).toBeCloseTo(logit, 4);
    });
  }

  it('the GGUF holds the weights of the llama2.c file, bit for bit', async () => {
    const { tensors } = await readGguf(gguf);
    const bytes = readFileSync(gguf);
    const parts = llama2c(readFileSync(join(shared!, 'stories260K/stories260K.bin')));
    // The GGUF repeats the shared table as its head.
    parts.push({ name: 'output.weight', data: parts[0]!.data });
    expect(parts.map((p) => p.name).sort()).toEqual([...tensors.keys()].sort());
    for (const { name, data } of parts) {
      const entry = tensors.get(name)!;
      expect(entry.bytes, name).toBe(data.byteLength);
      const stored = Float32Array.from(data, (_, i) => bytes.readFloatLE(entry.offset + 4 * i));
      expect(stored, name).toEqual(data);
    }
  });
});
