import { UnsupportedError } from '../errors.js';
import { type CacheGroup, DecoderBuilder } from '../layers/decoder.js';
import type { WeightSource } from '../layers/weights.js';
import type { Architecture } from '../models/architecture.js';
import { findArchitecture } from '../models/index.js';
import type { KvType } from '../ops/kv_write.js';
import { type ConfigReader, readConfig } from '../weights/config.js';
import type { QuantizeType } from '../weights/quantize_rules.js';
import { checkpointSource } from '../weights/source.js';
import type { Checkpoint } from '../weights/types.js';

/** A decoder's graph with its cache groups, ready to be lowered once the number of KV blocks is set. */
export interface BuiltDecoder {
  readonly architecture: Architecture;
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

/** Builds the graph of a decoder from a config and a source of weights; every weight is found and its shape checked. */
export function buildDecoder(
  architecture: Architecture,
  config: ConfigReader,
  source: WeightSource,
  kvType?: KvType,
): BuiltDecoder {
  const builder = new DecoderBuilder(architecture.modelType, config, source, kvType);
  config.collect(() => architecture.build(builder));
  const tied = config.bool('tie_word_embeddings', true);
  builder.weights.checkUsed([...(architecture.ignored ?? []), ...(tied ? [/^lm_head\.weight$/] : [])]);
  return {
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

/** The graph of a checkpoint; `architecture` is the user's own, or found by the config; `quantize`: what matrices become; `kvType`: of the cache. */
export function buildCheckpoint(
  checkpoint: Checkpoint,
  architecture?: Architecture,
  quantize?: QuantizeType,
  kvType?: KvType,
): BuiltDecoder {
  const config = readConfig(checkpoint);
  const className = config.architectures[0];
  const chosen = architecture ?? findArchitecture(className, config.modelType, checkpoint.configFile);
  if (checkpoint.kind === 'gguf' && chosen.gguf === undefined) {
    throw new UnsupportedError(`${chosen.classes[0]} has no GGUF names`, { file: checkpoint.path });
  }
  const types = quantize === undefined ? undefined : { type: quantize, layers: config.int('num_hidden_layers') };
  return buildDecoder(chosen, config, checkpointSource(checkpoint, chosen.gguf, types), kvType);
}
