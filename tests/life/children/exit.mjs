// exit.mjs MODEL loading|generating|idle exit|throw|end|wait: reaches a state, says READY, and ends in some way.
import { verdant } from './parts.mjs';

const [path, state, how] = /** @type {[string, string, string]} */ (process.argv.slice(2));

function end() {
  process.stdout.write('READY\n');
  if (how === 'exit') process.exit(7);
  if (how === 'throw') throw new Error('on purpose');
}

if (state === 'loading') {
  let told = false;
  const loading = verdant.load(path, {
    maxContext: 64,
    onProgress: ({ done }) => {
      if (told || done === 0) return;
      told = true;
      end();
    },
  });
  if (how === 'wait') await loading;
} else {
  const model = await verdant.load(path, { maxContext: 512 });
  if (state === 'idle') end();
  else {
    let first = true;
    // The throw must come from outside of the generation, as an uncaught exception.
    for await (const _ of model.generate([1], { maxTokens: 400, ignoreEos: true, greedy: true })) {
      if (first && how === 'throw') setTimeout(end);
      else if (first) end();
      first = false;
    }
  }
}
