/** Ops that work row by row run as one stage: the same bits as one after another, and few barriers. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildRandom } from '../../lib/bench/random_model.js';
import { DecoderHost } from '../../lib/engine/host.js';
import { Graph, type Tensor } from '../../lib/graph/graph.js';
import { lower } from '../../lib/graph/lower.js';
import { type Dim, dim, stepDim } from '../../lib/graph/shape.js';
import { randomWeight } from '../../lib/graph/weight_expr.js';
import { activation, add, gated, mul, scale } from '../../lib/ops/elementwise.js';
import { linear } from '../../lib/ops/linear.js';
import { rmsNorm } from '../../lib/ops/rms_norm.js';
import { softmax } from '../../lib/ops/softmax.js';
import { DeviceModel, type Executable } from '../../lib/runtime/executable.js';
import { llamaConfig } from '../engine/models.js';
import { allLogits, prompts } from '../engine/same_answer.js';
import { expectSameBits } from '../support/compare.js';
import { Random } from '../support/random.js';
import { testDevices } from '../support/run_op.js';

/** Widths that differ, so that reused memory would mix rows: a thread that runs ahead must not overwrite what another reads. */
function chainProgram(quant: 'q8_0' | 'q4_k' | 'f32') {
  const graph = new Graph('chains');
  const [rows, wide, narrow] = [stepDim('rows'), dim('wide', 1024), dim('narrow', 256)];
  const weight = (name: string, out: Dim, cols: Dim, seed: number) =>
    graph.weight(name, randomWeight(quant, out.size!, cols.size!, seed, 1 / Math.sqrt(cols.size!)), [out, cols]);
  const ones = (name: string, cols: Dim) => graph.weight(name, randomWeight('f32', 1, cols.size!, 9, 1), [cols]);
  let x = graph.input('x', 'f32', [rows, wide]) as Tensor<['rows', 'wide'], 'f32'>;
  for (let layer = 0; layer < 3; layer++) {
    const n = rmsNorm(add(x, scale(x, 0.5)), ones(`norm${layer}`, wide) as never, { eps: 1e-6 });
    const small = linear(n, weight(`down${layer}`, narrow, wide, 3 * layer) as never) as Tensor<
      ['rows', 'narrow'],
      'f32'
    >;
    const mixed = softmax(mul(activation(small, 'gelu'), add(small, activation(small, 'silu'))));
    const large = linear(mixed, weight(`up${layer}`, wide, narrow, 3 * layer + 1) as never);
    x = gated(add(large as never, x), x, 'silu') as never;
  }
  graph.output('y', x as unknown as Tensor);
  return lower(graph, { outputs: ['y'] });
}

describe.each(testDevices())('chains on %s', (device) => {
  describe.each(['q8_0', 'q4_k', 'f32'] as const)('%s', (quant) => {
    const open: DeviceModel[] = [];
    const made: Executable[] = [];
    beforeAll(async () => {
      for (const threads of [1, 2, 3]) {
        const model = await DeviceModel.open(device, { threads });
        open.push(model);
        made.push(await model.compile(chainProgram(quant)));
      }
    });
    afterAll(async () => {
      for (const model of open) await model.dispose();
    });

    it.each([1, 2, 3, 7, 65, 200])('%i rows: the bits of ops one after another', async (rows) => {
      const x = new Random(rows).normal(rows * 1024);
      const run = async (e: Executable) => (await e.run({ rows }, { x })).outputs.y as Float32Array;
      const expected = await run(made[0]!);
      for (const [i, executable] of made.slice(1).entries()) {
        for (let again = 0; again < 5; again++) expectSameBits(await run(executable), expected, `${i + 2} threads`);
        executable.profile(true); // timing keeps nodes apart
        expectSameBits(await run(executable), expected, `${i + 2} threads, timed`);
        const stages = executable.profile(false).stages;
        await run(executable);
        if (rows >= 65) expect(executable.profile().stages).toBeLessThan(stages);
      }
    });
  });
});

describe('barriers of a layer', () => {
  const layers = 4;
  const stages = async (promptLength: number, more: number): Promise<number> => {
    const counts: number[] = [];
    for (const count of [layers, layers + more]) {
      const config = { ...llamaConfig, hidden_size: 512, intermediate_size: 2048, num_hidden_layers: count };
      const host = await DecoderHost.open(buildRandom(config, 'config.json', 'q8_0'), { threads: 2 });
      try {
        await allLogits(host, [prompts(host.built.vocabSize, [promptLength])[0]!], promptLength);
        counts.push((await host.program(['logits'])).profile().stages);
      } finally {
        await host.dispose();
      }
    }
    return (counts[1]! - counts[0]!) / more;
  };

  it('are at most six for one row, ten for many', async () => {
    expect(await stages(1, 2)).toBeLessThanOrEqual(6);
    expect(await stages(200, 2)).toBeLessThanOrEqual(10);
  });
});
