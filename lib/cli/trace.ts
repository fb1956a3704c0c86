import type { Command } from 'commander';
import { InputError } from '../errors.js';
import type { AudioTraceInputs, SpectrogramTraceInputs, TraceInputs } from '../tasks/trace.js';
import type { NumberTensor } from '../weights/read_tensor.js';
import type { WritableTensor } from '../weights/write_safetensors.js';
import { type Context, given, integerOf } from './command.js';
import {
  addDeviceOptions,
  addHubOptions,
  type DeviceValues,
  type HubValues,
  hubOptions,
  modelArgument,
} from './options.js';

interface TraceValues extends HubValues, DeviceValues {
  readonly inputs: string;
  readonly out: string;
  readonly maxNewTokens?: number;
  readonly numBeams?: number;
}

const rules = `
IN holds input_ids and, where needed, attention_mask, position_ids, token_type_ids, decoder_input_ids and
decoder_attention_mask: integers, (batch, length), Hugging Face's names; for speech input_values, (batch, samples), and
attention_mask where rows are shorter; for Whisper input_features, (batch, bands, frames), and decoder_input_ids. OUT gets what the class returns (logits, last_hidden_state, pooler_output,
start_logits …), hidden_states.N and attentions.N (F32; zeros in padded rows), or with --max-new-tokens only sequences
(I64), with beams sequences_scores too: prompts without padding, then the new ids, then padding; encoder-decoders begin
with their own start id, whatever decoder_input_ids are. Linears multiply in f32 unless --compute says otherwise. No tokenizer is needed.`;

export function define(command: Command, context: Context): void {
  command
    .argument(...modelArgument)
    .requiredOption('--inputs <file>', 'safetensors file with the inputs')
    .requiredOption('--out <file>', 'safetensors file to write')
    .option('--max-new-tokens <n>', 'generate up to n ids instead', integerOf)
    .option('--num-beams <n>', 'beams of the generation; default 1: greedy', integerOf);
  addHubOptions(addDeviceOptions(command))
    .addHelpText('after', rules)
    .action((model, values) => trace(model, values, context));
}

const known = [
  'input_ids',
  'attention_mask',
  'position_ids',
  'token_type_ids',
  'decoder_input_ids',
  'decoder_attention_mask',
  'input_values',
  'input_features',
] as const;

async function readInputs(file: string): Promise<TraceInputs | AudioTraceInputs | SpectrogramTraceInputs> {
  const { readSafetensors } = await import('../weights/safetensors.js');
  const { readNumberTensors } = await import('../weights/read_tensor.js');
  const header = await readSafetensors(file);
  const unknown = [...header.tensors.keys()].filter((name) => !(known as readonly string[]).includes(name));
  if (unknown.length > 0) {
    const found = unknown.slice(0, 16).join(', ');
    throw new InputError('inputs that this model does not take', { file, expected: known.join(', '), found });
  }
  const tensors = await readNumberTensors(header);
  const [ids, mask, positions, types, decoder, decoderMask, values, features] = known.map((name) => tensors.get(name));
  for (const [name, { data }] of tensors) checkNumbers(file, name, data);
  if (values !== undefined) {
    const other = [...tensors.keys()].find((name) => name !== 'input_values' && name !== 'attention_mask');
    if (other === undefined) return { inputValues: values, ...given({ attentionMask: mask }) };
    throw new InputError('waveforms have no other inputs than a mask', { file, tensor: other });
  }
  if (features !== undefined) {
    const other = [...tensors.keys()].find((name) => name !== 'input_features' && !name.startsWith('decoder_'));
    const rest = given({ decoderInputIds: decoder, decoderAttentionMask: decoderMask });
    if (other === undefined) return { inputFeatures: features, ...rest };
    throw new InputError('spectrograms have no other inputs than those of the decoder', { file, tensor: other });
  }
  if (ids === undefined)
    throw new InputError('the inputs lack input_ids', {
      file,
      expected: 'input_ids, input_values of a waveform, or input_features of a spectrogram',
      found: [...tensors.keys()],
    });
  return {
    inputIds: ids,
    ...given({
      attentionMask: mask,
      positionIds: positions,
      tokenTypeIds: types,
      decoderInputIds: decoder,
      decoderAttentionMask: decoderMask,
    } satisfies Record<string, NumberTensor | undefined>),
  };
}

function checkNumbers(file: string, tensor: string, data: Float64Array): void {
  const mask = tensor.endsWith('attention_mask');
  const wave = tensor === 'input_values' || tensor === 'input_features';
  const bad = data.find((x) => (wave ? !Number.isFinite(x) : mask ? x !== 0 && x !== 1 : !Number.isInteger(x)));
  if (bad !== undefined)
    throw new InputError('unusable value', {
      file,
      tensor,
      expected: wave ? 'numbers' : mask ? '0 or 1' : 'integers',
      found: bad,
    });
}

function checkBeams(values: TraceValues): void {
  if (values.numBeams === undefined) return;
  const facts = { name: 'numBeams', expected: 'an integer from 1', found: values.numBeams };
  if (values.numBeams < 1) throw new InputError('--num-beams must be at least 1', facts);
  if (values.maxNewTokens === undefined)
    throw new InputError('--num-beams needs --max-new-tokens', { name: 'numBeams' });
}

async function trace(path: string, values: TraceValues, { signal }: Context): Promise<void> {
  checkBeams(values);
  const inputs = await readInputs(values.inputs);
  const { resolveModel } = await import('../hub/index.js');
  const { openCheckpoint } = await import('../weights/checkpoint.js');
  const { writeSafetensors } = await import('../weights/write_safetensors.js');
  const checkpoint = await openCheckpoint(await resolveModel(path, { ...hubOptions(values), signal }));
  const device = given({
    device: values.device,
    threads: values.threads,
    compute: values.compute,
    quantize: values.quantize,
    kvType: values.kvType,
  });
  let tensors: ReadonlyMap<string, WritableTensor>;
  if (values.maxNewTokens === undefined) {
    const { traceModel } = await import('../tasks/trace.js');
    tensors = await traceModel(checkpoint, inputs, device);
  } else {
    if ('inputValues' in inputs) throw new InputError('a waveform is not continued', { name: 'maxNewTokens' });
    if ('inputFeatures' in inputs)
      throw new InputError('a spectrogram is not continued here', { name: 'maxNewTokens', hint: 'Use transcribe' });
    const { traceSequences } = await import('../tasks/trace_sequences.js');
    const options = { ...device, maxNewTokens: values.maxNewTokens, numBeams: values.numBeams, signal };
    const { scores, ...sequences } = await traceSequences(checkpoint, inputs, options);
    tensors = new Map<string, WritableTensor>([['sequences', sequences]]);
    if (scores !== undefined)
      tensors = new Map([...tensors, ['sequences_scores', { shape: [scores.length], data: scores }]]);
  }
  signal.throwIfAborted();
  await writeSafetensors(values.out, tensors, signal);
}
