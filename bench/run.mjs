// npm run bench -- [OP …] [--case TEXT] [--device NAME] [--threads N] [--seconds S]: times the cases of the op tests.
import { register } from 'node:module';

register('./typescript.mjs', import.meta.url);
try {
  await import('./ops.ts');
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 1;
}
