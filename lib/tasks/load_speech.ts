import { dirname, join } from 'node:path';
import { Spectrograms, spectrogramConfig } from '../audio/spectrogram.js';
import { AudioHost } from '../engine/audio_host.js';
import { type BuiltAudio, type BuiltSeq2Seq, buildModel } from '../engine/build.js';
import { DecoderHost } from '../engine/host.js';
import { ConfigError, OptionError, UnsupportedError } from '../errors.js';
import type { Tensor } from '../graph/graph.js';
import { softmax } from '../ops/softmax.js';
import { readCtcVocab } from '../text/ctc_vocab.js';
import { loadTokenizer } from '../text/tokenizer.js';
import { readJsonFile } from '../weights/files.js';
import type { Checkpoint, RawConfig } from '../weights/types.js';
import type { LoadOptions } from './load.js';
import type { SpeechModel } from './speech.js';
import { type AudioPreparation, CtcModel } from './transcribe_ctc.js';
import { WhisperModel } from './transcribe_whisper.js';
import { readWhisperConfig } from './whisper_config.js';

/** Options that only text generation has. */
const decoderOptions = ['kvType', 'maxContext', 'kvMemory', 'prefillChunk', 'maxSequences', 'decodeSteps'] as const;

function folderOf(checkpoint: Checkpoint): string {
  return checkpoint.folder ?? dirname(checkpoint.configFile);
}

/** preprocessor_config.json, or the feature extractor in processor_config.json; empty where neither is there. */
async function readPreprocessor(folder: string): Promise<{ file: string; config: RawConfig }> {
  const fail = (message: string, facts: object): ConfigError => new ConfigError(message, facts);
  let file = join(folder, 'preprocessor_config.json');
  let config = await readJsonFile(file, 1 << 20, fail);
  if (config === undefined) {
    file = join(folder, 'processor_config.json');
    const inner = (await readJsonFile(file, 1 << 20, fail))?.feature_extractor;
    config = typeof inner === 'object' && inner !== null && !Array.isArray(inner) ? (inner as RawConfig) : {};
  }
  return { file, config };
}

/** With the defaults of Wav2Vec2FeatureExtractor. */
async function readPreparation(folder: string): Promise<AudioPreparation> {
  const { file, config } = await readPreprocessor(folder);
  const { sampling_rate: rate = 16_000, do_normalize: normalize = true, feature_size: channels = 1 } = config;
  const must = (name: string, good: boolean, expected: string, found: unknown): void => {
    if (!good) throw new ConfigError(`bad ${name}`, { file, name, expected, found });
  };
  must('sampling_rate', Number.isInteger(rate) && Number(rate) >= 1000 && Number(rate) <= 384_000, 'Hz', rate);
  must('do_normalize', typeof normalize === 'boolean', 'true or false', normalize);
  must('feature_size', channels === 1, '1 (a waveform)', channels);
  return { sampleRate: Number(rate), normalize: normalize === true };
}

/** Probabilities of each frame, beside the logits. */
function addProbabilities(built: BuiltAudio): void {
  const { graph } = built.builder;
  const logits = graph.outputs.get('logits') as unknown as Tensor<['rows', 'vocab'], 'f32'>;
  graph.output('probabilities', softmax(logits) as unknown as Tensor);
}

async function loadWhisper(
  checkpoint: Checkpoint,
  built: BuiltSeq2Seq,
  options: Omit<LoadOptions, 'task'>,
): Promise<WhisperModel> {
  const { bands, stride } = built.builder.encoder.spectrogram!;
  const { file, config: raw } = await readPreprocessor(folderOf(checkpoint));
  const prepared = spectrogramConfig(raw, file, bands, built.maxSource * stride);
  const config = readWhisperConfig(checkpoint, built);
  const tokenizer = await loadTokenizer({ folder: folderOf(checkpoint) });
  let host: DecoderHost | undefined;
  try {
    host = await DecoderHost.open(built.decoder, options, built);
    const spectrograms = await Spectrograms.create(host.model, prepared);
    return new WhisperModel(host, built, spectrograms, { checkpoint, tokenizer, config });
  } catch (error) {
    await host?.dispose();
    tokenizer.close();
    throw error;
  }
}

/** Loads a model of speech. Throws as `load()` does. */
export async function loadSpeech(checkpoint: Checkpoint, options: Omit<LoadOptions, 'task'>): Promise<SpeechModel> {
  const built = buildModel(checkpoint, options.architecture, options.quantize, options.kvType);
  const found = built.config.architectures[0] ?? built.architecture.modelType;
  if (built.kind === 'seq2seq' && built.builder.encoder.spectrogram !== undefined)
    return loadWhisper(checkpoint, built, options);
  if (built.kind !== 'audio' || built.builder.head !== 'ctc')
    throw new UnsupportedError('this checkpoint cannot do task transcribe', {
      file: checkpoint.path,
      expected: 'a model of speech, such as Wav2Vec2ForCTC or WhisperForConditionalGeneration',
      found,
    });
  for (const name of decoderOptions)
    if (options[name] !== undefined)
      throw new OptionError(`${name} has no meaning for ${found}`, { name, expected: 'nothing', found: options[name] });
  const folder = folderOf(checkpoint);
  const [vocab, preparation] = [await readCtcVocab(folder), await readPreparation(folder)];
  addProbabilities(built);
  return new CtcModel(await AudioHost.open(built, ['probabilities'], options), checkpoint, vocab, preparation);
}
