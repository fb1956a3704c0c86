import type { Command } from 'commander';
import type { SpeechModel, TranscribeOptions, Transcription } from '../tasks/speech.js';
import { bigintOf, type Context, given, inFlags, integerOf, numberOf, numbersOf } from './command.js';
import { addDeviceOptions, addHubOptions, type DeviceValues, type HubValues, openModel } from './options.js';
import { print } from './output.js';

interface TranscribeValues extends HubValues, DeviceValues {
  readonly model: string;
  readonly beams?: number;
  readonly chunkSeconds?: number;
  readonly strideSeconds?: number;
  readonly words?: boolean;
  readonly language?: string;
  readonly translate?: boolean;
  readonly timestamps?: boolean;
  readonly temperatures?: number[];
  readonly logprobThreshold?: number;
  readonly compressionRatioThreshold?: number;
  readonly silenceThreshold?: number;
  readonly seed?: bigint;
  readonly numBeams?: number;
  readonly prompt?: string;
  readonly promptCondition?: 'first-segment' | 'all-segments';
  readonly conditionOnPrevTokens?: boolean;
  readonly json?: boolean;
}

/** Names of the library's options here. */
const flags: Readonly<Record<string, string>> = {
  ...{ beams: '--beams', chunkSeconds: '--chunk-seconds', strideSeconds: '--stride-seconds', language: '--language' },
  ...{ task: '--translate', timestamps: '--timestamps', temperatures: '--temperatures', seed: '--seed' },
  ...{ logprobThreshold: '--logprob-threshold', compressionRatioThreshold: '--compression-ratio-threshold' },
  ...{ noSpeechThreshold: '--silence-threshold', numBeams: '--num-beams', prompt: '--prompt' },
  ...{ promptCondition: '--prompt-condition', conditionOnPrevTokens: '--condition-on-prev-tokens' },
};

const rules = `
FILE is WAV, FLAC, MP3, Ogg Vorbis or Ogg Opus of any rate; channels are averaged. Standard output carries the text, a
line for each file, which begins with the file's name where there are several. --words writes a line for each word: start
and end in seconds, confidence, word. --timestamps does so for each segment of Whisper: start, end, text. Beams, chunks and
--words are for CTC models (Wav2Vec2, HuBERT), languages, --translate, --timestamps and what follows for Whisper.`;

export function define(command: Command, context: Context): void {
  command
    .argument('<files...>', 'audio files')
    .requiredOption('-m, --model <model>', 'a folder or a hub id (owner/name)')
    .option('--beams <n>', 'texts that the search keeps; default: 1', integerOf)
    .option('--chunk-seconds <s>', 'longer audio is heard in overlapping chunks; 0: never; default: 30', numberOf)
    .option('--stride-seconds <s>', 'overlap on each side of a chunk; default: a sixth of it', numberOf)
    .option('--words', 'a line for each word, with its time')
    .option('--language <code>', 'spoken language (en, german …); default: heard')
    .option('--translate', 'write English, whatever is spoken')
    .option('--timestamps', 'a line for each segment, with its time')
    .option(
      '--temperatures <t,…>',
      'to write a poor text at again, such as 0,0.2,0.4,0.6,0.8,1; default: 0',
      numbersOf(64),
    )
    .option('--logprob-threshold <x>', 'a text of a lower mean log-probability is poor', numberOf)
    .option('--compression-ratio-threshold <x>', 'a text that zlib makes smaller by more is poor', numberOf)
    .option('--silence-threshold <p>', 'nobody speaks where this is likelier and the text poor', numberOf)
    .option('--seed <s>', 'same seed, same text, at temperatures above 0', bigintOf)
    .option('--num-beams <n>', 'beams of Whisper, at temperature 0; default: 1', integerOf)
    .option('--prompt <text>', 'what may have been said before: names, words, a way of writing')
    .option('--prompt-condition <when>', 'first-segment, or all-segments: it stays before earlier text')
    .option('--condition-on-prev-tokens', 'write each window after the text of those before')
    .option('--json', 'one JSON document instead of the text');
  addHubOptions(addDeviceOptions(command))
    .addHelpText('after', rules)
    .action((files, values) => transcribe(files, values, context));
}

async function transcribe(files: readonly string[], values: TranscribeValues, context: Context): Promise<void> {
  const { load } = await import('../tasks/load.js');
  const { WhisperModel } = await import('../tasks/transcribe_whisper.js');
  const model: SpeechModel = await openModel(values, context, (options) =>
    load(values.model, { ...options, task: 'transcribe' }),
  );
  try {
    const { beams, chunkSeconds, strideSeconds, language, timestamps, temperatures, seed } = values;
    const { logprobThreshold, compressionRatioThreshold, silenceThreshold: noSpeechThreshold, numBeams } = values;
    const { prompt, promptCondition, conditionOnPrevTokens } = values;
    const task = values.translate === true ? ('translate' as const) : undefined;
    const hears = model instanceof WhisperModel;
    const whisper = given({
      ...{ language, task, timestamps: values.words === true && hears ? ('word' as const) : timestamps },
      ...{ temperatures, seed, logprobThreshold, compressionRatioThreshold },
      ...{ noSpeechThreshold, numBeams, prompt, promptCondition, conditionOnPrevTokens },
    });
    const options: TranscribeOptions = {
      ...{ ...given({ beams, chunkSeconds, strideSeconds }), ...whisper },
      signal: context.signal,
    };
    const found = await model.transcribe(files, options).catch((error: unknown) => {
      throw inFlags(error, values.words === true ? { ...flags, timestamps: '--words' } : flags);
    });
    if (values.json === true) {
      const documents = found.map((one, i) => ({ file: files[i], ...one }));
      await print(`${JSON.stringify(documents.length === 1 ? documents[0] : documents, undefined, 2)}\n`);
    } else
      for (const [i, one] of found.entries()) await print(lines(one, files.length > 1 ? files[i] : undefined, values));
  } finally {
    await model.dispose();
  }
}

function lines(
  { text, words, segments = [] }: Transcription,
  file: string | undefined,
  values: TranscribeValues,
): string {
  const before = file === undefined ? '' : `${file}\t`;
  const time = (seconds: number): string => seconds.toFixed(2);
  if (values.timestamps === true)
    return segments.map((s) => `${before}${time(s.start)}\t${time(s.end)}\t${s.text}\n`).join('');
  if (values.words !== true) return `${before}${text}\n`;
  return words
    .map((w) => `${before}${time(w.start)}\t${time(w.end)}\t${w.confidence.toFixed(3)}\t${w.text}\n`)
    .join('');
}
