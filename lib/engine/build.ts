import { UnsupportedError } from '../errors.js';
import { AudioBuilder } from '../layers/audio.js';
import { type CacheGroup, DecoderBuilder } from '../layers/decoder.js';
import { EncoderBuilder, type EncoderHead, encoderHead } from '../layers/encoder.js';
import { type SentencePlan, sentenceEmbedding } from '../layers/sentence.js';
import { Seq2SeqBuilder } from '../layers/seq2seq.js';
import type { WeightSource } from '../layers/weights.js';
import type {
  Architecture,
  AudioArchitecture,
  DecoderArchitecture,
  EncoderArchitecture,
  Seq2SeqArchitecture,
} from '../models/architecture.js';
import { findArchitecture } from '../models/index.js';
import type { KvType } from '../ops/kv_write.js';
import { type ConfigReader, readConfig } from '../weights/config.js';
import type { QuantizeType } from '../weights/quantize_rules.js';
import { checkpointSource } from '../weights/source.js';
import type { Checkpoint } from '../weights/types.js';

/** A decoder's graph with its cache groups, ready to be lowered once the number of KV blocks is set. */
export interface BuiltDecoder {
  readonly kind: 'decoder';
  readonly architecture: DecoderArchitecture;
  readonly builder: DecoderBuilder;
  readonly config: ConfigReader;
  /** KV groups, the plane of token ids last. */
  readonly groups: readonly CacheGroup[];
  readonly vocabSize: number;
  readonly layers: number;
  /** Longest sequence that the model was made for, its rope scaling included. */
  readonly maxPositions: number;
  /** Rope angles of sequences longer than this depend on their length (dynamic, longrope): cached keys do not fit them. */
  readonly ropeLimit: number | undefined;
}

/** Tokens of a text where the model itself sets no limit: relative positions go on for ever. */
const relativeLimit = 16_384;

/** Scalings that stretch the trained length by their factor. */
function longestSequence(config: ConfigReader): number {
  const rope = config.rope();
  const stretched = rope.type === 'linear' || rope.type === 'dynamic' || rope.type === 'yarn';
  return Math.floor(config.int('max_position_embeddings') * (stretched ? rope.factor : 1));
}

function dynamicLimit(config: ConfigReader): number | undefined {
  const rope = config.rope();
  return rope.type === 'dynamic' ? rope.maxPositionEmbeddings : undefined;
}

/** An encoder's graph, ready to be lowered. */
export interface BuiltEncoder {
  readonly kind: 'encoder';
  readonly architecture: EncoderArchitecture;
  readonly builder: EncoderBuilder;
  readonly config: ConfigReader;
  readonly vocabSize: number;
  readonly layers: number;
  /** Longest sequence in tokens. */
  readonly maxPositions: number;
}

/** The two graphs of an encoder-decoder. */
export interface BuiltSeq2Seq {
  readonly kind: 'seq2seq';
  readonly architecture: Seq2SeqArchitecture;
  readonly builder: Seq2SeqBuilder;
  /** The decoder as the engine runs it. */
  readonly decoder: BuiltDecoder;
  readonly config: ConfigReader;
  /** The decoder's own groups, the plane of token ids last; `builder.cross` is apart. */
  readonly groups: readonly CacheGroup[];
  /** Ids that the decoder writes. */
  readonly vocabSize: number;
  /** Ids that the encoder reads. */
  readonly sourceVocab: number;
  /** Longest text that the encoder reads, and that the decoder writes. */
  readonly maxSource: number;
  readonly maxPositions: number;
}

/** The graph of an encoder of waveforms. */
export interface BuiltAudio {
  readonly kind: 'audio';
  readonly architecture: AudioArchitecture;
  readonly builder: AudioBuilder;
  readonly config: ConfigReader;
  readonly vocabSize: number;
  readonly layers: number;
}

export type BuiltModel = BuiltDecoder | BuiltEncoder | BuiltSeq2Seq | BuiltAudio;

/** Builds the graph of a decoder from a config and a source of weights; every weight is found and its shape checked. */
export function buildDecoder(
  architecture: DecoderArchitecture,
  config: ConfigReader,
  source: WeightSource,
  kvType?: KvType,
): BuiltDecoder {
  const builder = new DecoderBuilder(architecture.modelType, config, source, kvType);
  config.collect(() => architecture.build(builder));
  const tied = config.bool('tie_word_embeddings', true);
  builder.weights.checkUsed([...(architecture.ignored ?? []), ...(tied ? [/^lm_head\.weight$/] : [])]);
  return {
    kind: 'decoder',
    architecture,
    builder,
    config,
    groups: builder.finish(),
    vocabSize: config.int('vocab_size'),
    layers: config.int('num_hidden_layers'),
    maxPositions: builder.learnedPositions ?? longestSequence(config),
    ropeLimit: builder.ropeSwitch ?? (builder.learnedPositions === undefined ? dynamicLimit(config) : undefined),
  };
}

export interface EncoderOptions {
  /** Head to build, instead of the one that the class name stands for: 'base' where only embeddings are wanted. */
  readonly head?: EncoderHead | undefined;
  /** What makes one vector of a text, after the base model. */
  readonly sentence?: SentencePlan | undefined;
}

/** Names under which heads lie beside the base model; they go unused where another head is asked for. */
const headTensors =
  /^(cls|lm_head|classifier|qa_outputs|vocab_\w+|pre_classifier|generator_\w+|discriminator_\w+|head|decoder)\./;

/** The same of an encoder; `className`: one of the architecture's classes, which says what head it has. */
export function buildEncoder(
  architecture: EncoderArchitecture,
  className: string,
  config: ConfigReader,
  source: WeightSource,
  options: EncoderOptions = {},
): BuiltEncoder {
  const own = encoderHead(className);
  const head = options.head ?? own;
  const builder = new EncoderBuilder(architecture.modelType, head, config, source);
  config.collect(() => architecture.build(builder));
  builder.weights.checkUsed([...(architecture.ignored ?? []), ...(head === own ? [] : [headTensors])]);
  if (options.sentence !== undefined) sentenceEmbedding(builder, options.sentence);
  const first = builder.positionPadding === undefined ? 0 : builder.positionPadding + 1;
  return {
    kind: 'encoder',
    architecture,
    builder,
    config,
    vocabSize: config.int('vocab_size'),
    layers: config.int('num_hidden_layers'),
    maxPositions: (builder.learnedPositions ?? config.optionalInt('max_position_embeddings') ?? relativeLimit) - first,
  };
}

/** The same of an encoder of waveforms; `className` says whether it has a CTC head. */
export function buildAudio(
  architecture: AudioArchitecture,
  className: string,
  config: ConfigReader,
  source: WeightSource,
): BuiltAudio {
  const builder = new AudioBuilder(architecture.modelType, encoderHead(className), config, source);
  config.collect(() => architecture.build(builder));
  builder.weights.checkUsed(architecture.ignored ?? []);
  const [vocabSize, layers] = [config.int('vocab_size'), config.int('num_hidden_layers')];
  return { kind: 'audio', architecture, builder, config, vocabSize, layers };
}

/** The same of an encoder-decoder. */
export function buildSeq2Seq(
  architecture: Seq2SeqArchitecture,
  config: ConfigReader,
  source: WeightSource,
  kvType?: KvType,
): BuiltSeq2Seq {
  const heads = architecture.crossHeads(config);
  const builder = new Seq2SeqBuilder(architecture.modelType, config, source, heads, kvType);
  config.collect(() => architecture.build(builder));
  builder.encoder.weights.checkUsed(architecture.ignored ?? []);
  const most = config.optionalInt('max_position_embeddings') ?? relativeLimit;
  const groups = builder.finish();
  const vocabSize = config.optionalInt('decoder_vocab_size') ?? config.int('vocab_size');
  const maxPositions = builder.decoder.learnedPositions ?? most;
  const { classes, modelType } = architecture;
  const decoder: BuiltDecoder = {
    ...{ kind: 'decoder', builder: builder.decoder, config, groups, vocabSize, maxPositions, ropeLimit: undefined },
    architecture: { classes, modelType, build: () => undefined },
    layers: config.optionalInt('num_decoder_layers') ?? config.int('decoder_layers'),
  };
  const maxSource = builder.encoder.learnedPositions ?? most;
  const sourceVocab = config.int('vocab_size');
  return {
    kind: 'seq2seq',
    architecture,
    builder,
    decoder,
    config,
    groups,
    vocabSize,
    sourceVocab,
    maxSource,
    maxPositions,
  };
}

/** The graph of a checkpoint; `architecture` is the user's own, or found by the config; `quantize`: what matrices become; `kvType`: of the cache. */
export function buildModel(
  checkpoint: Checkpoint,
  architecture?: Architecture,
  quantize?: QuantizeType,
  kvType?: KvType,
  encoder?: EncoderOptions,
): BuiltModel {
  const config = readConfig(checkpoint);
  const className = config.architectures[0];
  const chosen = architecture ?? findArchitecture(className, config.modelType, checkpoint.configFile);
  if (checkpoint.kind === 'gguf' && chosen.gguf === undefined) {
    throw new UnsupportedError(`${chosen.classes[0]} has no GGUF names`, { file: checkpoint.path });
  }
  const types = quantize === undefined ? undefined : { type: quantize, layers: config.int('num_hidden_layers') };
  const source = checkpointSource(checkpoint, chosen.gguf, types);
  if (chosen.kind === 'encoder') return buildEncoder(chosen, className ?? chosen.classes[0]!, config, source, encoder);
  if (chosen.kind === 'audio') return buildAudio(chosen, className ?? chosen.classes[0]!, config, source);
  if (chosen.kind === 'seq2seq') return buildSeq2Seq(chosen, config, source, kvType);
  return buildDecoder(chosen, config, source, kvType);
}

/** The same where text must come out: a decoder or an encoder-decoder. */
export function buildText(
  checkpoint: Checkpoint,
  architecture?: Architecture,
  quantize?: QuantizeType,
  kvType?: KvType,
): BuiltDecoder | BuiltSeq2Seq {
  const built = buildModel(checkpoint, architecture, quantize, kvType);
  if (built.kind === 'decoder' || built.kind === 'seq2seq') return built;
  throw new UnsupportedError('an encoder continues no text', {
    file: checkpoint.path,
    expected: 'a decoder',
    found: built.config.architectures[0] ?? built.architecture.modelType,
    hint:
      built.kind === 'audio'
        ? 'load() it with task: transcribe'
        : 'load() it with a task: embed, rerank, classify, tokens, answer or fillMask',
  });
}

/** The same where only a decoder will do. */
export function buildCheckpoint(
  checkpoint: Checkpoint,
  architecture?: Architecture,
  quantize?: QuantizeType,
  kvType?: KvType,
): BuiltDecoder {
  const built = buildText(checkpoint, architecture, quantize, kvType);
  if (built.kind === 'decoder') return built;
  throw new UnsupportedError('an encoder-decoder is none of the models that this is for', {
    file: checkpoint.path,
    expected: 'a decoder',
    found: built.config.architectures[0] ?? built.architecture.modelType,
  });
}
