import { buildEmulator } from '../../scripts/build_emulator.mjs';

/** Before the tests of the project `cuda`: the emulated device, where no real one was named. */
export default async function setup(): Promise<void> {
  if (process.env.VERDANT_TEST_DEVICES !== undefined) return;
  const problem = await buildEmulator();
  if (problem !== undefined) throw new Error(problem);
}
