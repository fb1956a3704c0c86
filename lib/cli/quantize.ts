import { type Command, Option } from 'commander';
import type { QuantizeResult } from '../tasks/quantize.js';
import { type QuantizeType, quantizeTypes } from '../weights/quantize_rules.js';
import { type Context, given } from './command.js';
import { addHubOptions, type HubValues, hubOptions } from './options.js';
import { bytes, colour, note, oneLine, Progress, print, table } from './output.js';

interface QuantizeValues extends HubValues {
  readonly type: QuantizeType;
  readonly overwrite?: boolean;
  readonly json?: boolean;
}

const rules = `
Every matrix gets the type, with llama-quantize's exceptions: vectors and learned positions are f32; below q8_0 the
output head (the token table where it is the head too) is q6_k. Where a row is no multiple of 256, q2_k and q3_k become
q4_0, q4_k q5_0, q5_k q5_1, q6_k q8_0, iq4_xs iq4_nl; where it is no multiple of 32, f16: such matrices are listed.
q4_k_m and q5_k_m are mixtures: q6_k for attn_v and ffn_down in the first and last eighth of the layers and in every
third one between; a fused attn_qkv gets one step more. Sampling defaults of generation_config.json have no place in
GGUF. OUT appears when it is whole.`;

export function define(command: Command, context: Context): void {
  addHubOptions(command.argument('<in>', 'a folder with safetensors, an unquantised .gguf file, or a hub id'))
    .argument('<out>', 'the .gguf file to write')
    .addOption(new Option('--type <type>', 'type of the matrices').choices(quantizeTypes).makeOptionMandatory())
    .option('--overwrite', 'replace a file of that name')
    .option('--json', 'one JSON document')
    .addHelpText('after', rules)
    .action((input, output, values) => quantizeModel(input, output, values, context));
}

async function quantizeModel(
  input: string,
  output: string,
  values: QuantizeValues,
  { signal }: Context,
): Promise<void> {
  const { quantize } = await import('../tasks/quantize.js');
  const pulling = new Progress('downloading');
  const writing = new Progress(`writing ${oneLine(output)}`);
  const started = performance.now();
  try {
    const made = await quantize(input, output, {
      type: values.type,
      ...given({ overwrite: values.overwrite }),
      hub: { ...hubOptions(values), onProgress: ({ done, total }) => pulling.update(done, total) },
      onProgress: ({ done, total }) => {
        pulling.stop();
        writing.update(done, total);
      },
      signal,
    });
    writing.stop();
    const seconds = (performance.now() - started) / 1000;
    await print(values.json === true ? `${JSON.stringify(made, undefined, 2)}\n` : table(summary(made, seconds)));
    for (const line of made.notes) note(colour('dim', `note: ${oneLine(line)}`));
  } finally {
    pulling.stop();
    writing.stop();
  }
}

function summary({ path, bytes: size, tensors }: QuantizeResult, seconds: number): [string, string][] {
  const counts = new Map<string, number>();
  for (const { type } of tensors) counts.set(type, (counts.get(type) ?? 0) + 1);
  const forced = tensors.filter((t) => t.type !== t.wanted);
  return [
    ['file', oneLine(path)],
    ['size', `${bytes(size)} in ${seconds.toFixed(1)} s`],
    ['types', [...counts].map(([type, count]) => `${type}: ${count} tensors`).join('; ')],
    ...forced.map((t): [string, string] => [
      'fallback',
      `${oneLine(t.name)} [${t.shape.join(', ')}]: ${t.type} in place of ${t.wanted}, whose blocks its rows do not fill`,
    ]),
  ];
}
