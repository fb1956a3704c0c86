import { audioProgram, packAudioStep } from '../engine/audio_host.js';
import type { BuiltAudio } from '../engine/build.js';
import { InputError } from '../errors.js';
import { levelRows, receptiveField } from '../layers/audio.js';
import type { DeviceModel } from '../runtime/executable.js';
import { scatterRows, type TraceInput, type TraceTensor } from './trace_inputs.js';

/** Waveforms under Hugging Face's names, batch first: (batch, samples). */
export interface AudioTraceInputs {
  readonly inputValues: TraceInput;
  /** 1 for each sample that belongs to a row: only their number counts, as in Hugging Face's classes. */
  readonly attentionMask?: TraceInput | undefined;
}

const names = { inputValues: 'input_values', attentionMask: 'attention_mask' } as const;

/** Each row's own samples. Throws InputError. */
function clipsOf(
  built: BuiltAudio,
  inputs: AudioTraceInputs,
): { clips: Float32Array[]; batch: number; length: number } {
  const unknown = Object.keys(inputs ?? {}).find((key) => !Object.hasOwn(names, key));
  if (unknown !== undefined)
    throw new InputError(`input ${unknown} has no meaning for waveforms`, {
      expected: Object.values(names).join(', '),
    });
  for (const [key, name] of Object.entries(names)) {
    const t = inputs?.[key as keyof typeof names];
    if (t === undefined && key === 'attentionMask') continue;
    const good = t?.shape.length === 2 && t.shape.every((n) => n > 0) && t.data.length === t.shape[0]! * t.shape[1]!;
    if (!good)
      throw new InputError(`${name} must be (batch, samples)`, { name, expected: 'two sizes from 1', found: t?.shape });
  }
  const { inputValues, attentionMask: mask } = inputs;
  const [batch, length] = inputValues.shape as readonly [number, number];
  if (mask !== undefined && (mask.shape[0] !== batch || mask.shape[1] !== length))
    throw new InputError('attention_mask must have the shape of input_values', {
      name: names.attentionMask,
      expected: inputValues.shape,
      found: mask.shape,
    });
  const { samples: least } = receptiveField(built.builder.convolutions);
  const clips = Array.from({ length: batch }, (_, b) => {
    let count = mask === undefined ? length : 0;
    for (let i = b * length; i < (b + 1) * length; i++) {
      if (!Number.isFinite(inputValues.data[i]))
        throw new InputError('input_values must hold numbers', { name: names.inputValues, found: inputValues.data[i] });
      const seen = mask?.data[i];
      if (seen === undefined) continue;
      if (seen !== 0 && seen !== 1)
        throw new InputError('attention_mask', { name: names.attentionMask, expected: '0 or 1', found: seen });
      count += seen;
    }
    if (count < least)
      throw new InputError(`row ${b} is shorter than one frame sees`, {
        name: names.inputValues,
        expected: `at least ${least} samples`,
        found: count,
      });
    return Float32Array.from({ length: count }, (_, i) => inputValues.data[b * length + i]!);
  });
  return { clips, batch, length };
}

/** All that an encoder of waveforms returns of a padded batch; each row runs alone, on its own samples. */
export async function traceAudio(
  model: DeviceModel,
  built: BuiltAudio,
  inputs: AudioTraceInputs,
  compute: string,
): Promise<Map<string, TraceTensor>> {
  const { clips, batch, length } = clipsOf(built, inputs);
  const { graph, convolutions } = built.builder;
  const outputNames = new Map([...graph.outputs].map(([name, value]) => [value, name]));
  const executable = await model.compile(audioProgram(built, [...outputNames.values()], compute));
  const frames = levelRows(convolutions, length).at(-1)!;
  const out = new Map<string, TraceTensor>();
  for (const [b, clip] of clips.entries()) {
    const { dims, inputs: arrays } = packAudioStep(built.builder, [clip]);
    const n = dims.rows!;
    const kept = Array.from({ length: n }, (_, i) => i);
    const { outputs } = await executable.run({ ...dims, keys: n }, arrays);
    for (const [name, data] of Object.entries(outputs)) {
      const maps = name.startsWith('attentions.');
      const heads = maps ? data.length / (n * n) : 1;
      const width = maps ? frames : data.length / n;
      const shape = maps ? [batch, heads, frames, frames] : [batch, frames, width];
      if (!out.has(name)) out.set(name, { shape, data: new Float32Array(shape.reduce((a, s) => a * s, 1)) });
      const into = out.get(name)!.data;
      scatterRows(into, b, kept, data as Float32Array, heads, frames, width, maps ? kept : undefined);
    }
  }
  for (const [name, value] of graph.outputs) if (!out.has(name)) out.set(name, out.get(outputNames.get(value)!)!);
  return out;
}
