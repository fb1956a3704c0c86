import type { Command } from 'commander';
import { type Context, given } from './command.js';
import { addHubOptions, type HubValues, hubOptions } from './options.js';
import { Progress, print } from './output.js';

export function define(command: Command, context: Context): void {
  addHubOptions(command.argument('<id>', 'owner/name, owner/name@revision or owner/name:file.gguf'))
    .option('--gguf <file>', 'the GGUF file to take, or a part of its name such as Q4_0')
    .addHelpText(
      'after',
      '\nPrints the path of the model, for run and load. An interrupted download goes on where it stopped.',
    )
    .action((id, values) => pullModel(id, values, context));
}

async function pullModel(
  id: string,
  values: HubValues & { readonly gguf?: string },
  { signal }: Context,
): Promise<void> {
  const { pull } = await import('../hub/index.js');
  const progress = new Progress(`downloading ${id}`);
  try {
    const onProgress = ({ done, total }: { done: number; total: number }): void => progress.update(done, total);
    const { path } = await pull(id, { ...hubOptions(values), ...given({ gguf: values.gguf }), signal, onProgress });
    progress.stop();
    await print(`${path}\n`);
  } finally {
    progress.stop();
  }
}
