import { buildModel, type EncoderOptions } from '../engine/build.js';
import { EncoderHost } from '../engine/encoder_host.js';
import { OptionError, UnsupportedError } from '../errors.js';
import type { EncoderHead } from '../layers/encoder.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { readSentenceFolder, type SentenceFolder } from '../weights/sentence_transformers.js';
import type { Checkpoint } from '../weights/types.js';
import { AnswerModel } from './answer.js';
import { ClassifyModel } from './classify.js';
import { EmbeddingModel } from './embed.js';
import { FillMaskModel } from './fill_mask.js';
import type { LoadOptions } from './load.js';
import { RerankModel } from './rerank.js';
import { TokensModel } from './tokens.js';

/** What an encoder is loaded for, and the model that does it. */
export interface EncoderTaskModels {
  /** One vector for each text. */
  readonly embed: EmbeddingModel;
  /** Documents by how well they answer a query. */
  readonly rerank: RerankModel;
  /** Classes of texts and pairs of texts. */
  readonly classify: ClassifyModel;
  /** Named entities. */
  readonly tokens: TokensModel;
  /** Answers out of a text. */
  readonly answer: AnswerModel;
  /** Words for gaps. */
  readonly fillMask: FillMaskModel;
}

export type EncoderTask = keyof EncoderTaskModels;

const heads: Readonly<Record<EncoderTask, EncoderHead>> = {
  embed: 'base',
  rerank: 'sequence',
  classify: 'sequence',
  tokens: 'tokens',
  answer: 'answer',
  fillMask: 'masked_lm',
};

export const encoderTasks = Object.keys(heads) as readonly EncoderTask[];

/** Options that only text generation has. */
const decoderOptions = ['kvType', 'maxContext', 'kvMemory', 'prefillChunk', 'maxSequences', 'decodeSteps'] as const;

/** Without modules.json: the mean over all tokens, to length 1. */
const plain: SentenceFolder = {
  plan: { pooling: ['mean'], steps: ['normalize'] },
  maxLength: undefined,
  lowerCase: false,
  prompts: {},
  defaultPrompt: undefined,
};

function outputsOf(task: EncoderTask): readonly string[] {
  if (task === 'embed') return ['sentence_embedding'];
  return task === 'answer' ? ['start_logits', 'end_logits'] : ['logits'];
}

/** Loads an encoder for a task; `tokenizer` may be on its way. Throws as `load()` does. */
export async function loadEncoder(
  task: EncoderTask,
  checkpoint: Checkpoint,
  tokenizer: Promise<Tokenizer | undefined>,
  options: Omit<LoadOptions, 'task'>,
): Promise<EncoderTaskModels[EncoderTask]> {
  for (const name of decoderOptions)
    if (options[name] !== undefined)
      throw new OptionError(`${name} has no meaning for task ${task}`, {
        name,
        expected: 'nothing',
        found: options[name],
      });
  const folder =
    task !== 'embed' || checkpoint.folder === undefined ? undefined : await readSentenceFolder(checkpoint.folder);
  const sentence = folder ?? plain;
  const encoder: EncoderOptions = task === 'embed' ? { head: 'base', sentence: sentence.plan } : {};
  const built = buildModel(checkpoint, options.architecture, options.quantize, undefined, encoder);
  const className = built.config.architectures[0] ?? built.architecture.modelType;
  const refuse = (expected: string, found: string = className): never => {
    throw new UnsupportedError(`this checkpoint cannot do task ${task}`, { file: checkpoint.path, expected, found });
  };
  if (built.kind !== 'encoder') return refuse('an encoder');
  if (built.builder.head !== heads[task])
    return refuse(`a class for it, such as ${nameFor(built.architecture.classes, task)}`);
  const classes = built.builder.labels.length;
  if (task === 'rerank' && classes !== 1) return refuse('one class, the score of a pair', `${classes} classes`);
  const host = await EncoderHost.open(built, outputsOf(task), options);
  try {
    const words = await tokenizer;
    if (task === 'embed') return new EmbeddingModel(host, checkpoint, words, sentence);
    const models = {
      rerank: RerankModel,
      classify: ClassifyModel,
      tokens: TokensModel,
      answer: AnswerModel,
      fillMask: FillMaskModel,
    };
    return new models[task](host, checkpoint, words, outputsOf(task));
  } catch (error) {
    await host.dispose();
    throw error;
  }
}

function nameFor(classes: readonly string[], task: EncoderTask): string {
  const endings: Readonly<Record<EncoderHead, string>> = {
    base: 'Model',
    masked_lm: 'ForMaskedLM',
    sequence: 'ForSequenceClassification',
    tokens: 'ForTokenClassification',
    answer: 'ForQuestionAnswering',
    ctc: 'ForCTC',
  };
  return classes.find((name) => name.endsWith(endings[heads[task]])) ?? endings[heads[task]];
}
