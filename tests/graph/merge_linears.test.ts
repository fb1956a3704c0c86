import { expect, it } from 'vitest';
import { stepProgram } from '../../lib/engine/programs.js';
import { separateNames } from '../../lib/graph/passes/merge_linears.js';
import { gpt2Config, randomDecoder } from '../engine/models.js';

const linears = (names: readonly { op: string; name: string }[]): string[] =>
  names.filter((n) => n.op === 'linear').map((n) => n.name);

it('projections of the same x become one node, named after them all', () => {
  const names = linears(stepProgram(randomDecoder()).nodes);
  expect(names).toEqual([
    ...[0, 1].flatMap((i) => [
      `layers.${i}.q_proj+k_proj+v_proj`,
      `layers.${i}.o_proj`,
      `layers.${i}.gate_proj+up_proj`,
      `layers.${i}.down_proj`,
    ]),
    'lm_head',
  ]);
  expect(separateNames(names[0]!)).toEqual(['q', 'k', 'v'].map((n) => `layers.0.${n}_proj`));
});

it('parts of one stored matrix too; a node without neighbours keeps its name', () => {
  const names = linears(stepProgram(randomDecoder({ config: gpt2Config })).nodes);
  expect(names.slice(0, 4)).toEqual(['c_attn+c_attn+c_attn', 'c_proj', 'c_fc', 'c_proj'].map((n) => `h.0.${n}`));
});
