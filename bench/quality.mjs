// node bench/quality.mjs [TYPE …] [--every N] [--rival-path FOLDER]: KL divergence and top-1 agreement of each weight type
// against f32, on every N-th held-out text; next to node-llama-cpp of FOLDER/node_modules on the same files.
import { register } from 'node:module';

register('./typescript.mjs', import.meta.url);
try {
  await import('./quality.ts');
} catch (error) {
  process.stderr.write(`quality: ${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 1;
}
