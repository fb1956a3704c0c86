import { expect, it } from 'vitest';
import { lookInside } from '../../examples/look_inside.js';

it('looks inside the built-in model', async () => {
  const look = await lookInside('The mole dug a tunnel');
  expect(look.attended).toHaveLength(8);
  expect(look.layers.length).toBeGreaterThan(2);
  expect(look.plain.trimStart().startsWith(look.layers[0]!.replace(/^[Ġ▁]/, ''))).toBe(true);
  expect(look.near).toHaveLength(3);
  expect(look.steered).not.toBe(look.plain);
  expect(look.silenced.length).toBeGreaterThan(0);
});
