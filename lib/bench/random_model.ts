import { type BuiltDecoder, buildDecoder } from '../engine/build.js';
import { OptionError } from '../errors.js';
import type { WeightSource } from '../layers/weights.js';
import { findDecoder } from '../models/index.js';
import type { KvType } from '../ops/kv_write.js';
import type { PublishedTensor } from '../tasks/quantize_plan.js';
import { readConfig } from '../weights/config.js';
import { isQuantizeType, matrixType, type QuantizeType, quantizeTypes } from '../weights/quantize_rules.js';
import { randomSource } from '../weights/random_source.js';
import { storedGgufName } from '../weights/source.js';
import type { RawConfig } from '../weights/types.js';

/** The type of that name. Throws an OptionError that lists them. */
export function quantOf(name: string): QuantizeType {
  if (isQuantizeType(name)) return name;
  const expected = quantizeTypes.join(', ');
  throw new OptionError(`no weight type ${name}`, { name: 'quant', expected, found: name });
}

export interface RandomDecoder {
  readonly built: BuiltDecoder;
  /** The tensors that it is made of, before they are quantised. */
  readonly tensors: readonly PublishedTensor[];
}

/** Keeps what a model asks a source for. */
function recorded(source: WeightSource, into: Map<string, PublishedTensor>): WeightSource {
  return {
    ...source,
    find(name) {
      const tensor = source.find(name);
      if (tensor === undefined) return undefined;
      return {
        ...tensor,
        expr(dtype, rows, cols) {
          const made = tensor.expr(dtype, rows, cols);
          into.set(name, { name, file: source.file, shape: cols === 1 ? [rows] : [rows, cols], expr: () => made });
          return made;
        },
      };
    },
  };
}

/**
 * A decoder of that config with random weights. Its matrices have the types that a file of that kind has: below q8_0 the
 * head is q6_k, and rows that do not divide into blocks of 256 have smaller ones. Vectors are f32.
 */
export function randomDecoder(config: RawConfig, name: string, quant: QuantizeType, kvType?: KvType): RandomDecoder {
  const reader = readConfig({ config, configFile: name });
  const architecture = findDecoder(reader.architectures[0], reader.modelType, name);
  const model = { layers: reader.int('num_hidden_layers'), tied: reader.bool('tie_word_embeddings', true) };
  const named = (tensor: string): string =>
    (architecture.gguf === undefined ? undefined : storedGgufName(architecture.gguf, tensor)) ?? tensor;
  const source: WeightSource = {
    ...randomSource('f32', 1, model.tied ? [/^lm_head\./] : []),
    quantize: (tensor, cols) => matrixType(quant, named(tensor), cols, model),
  };
  const tensors = new Map<string, PublishedTensor>();
  const built = buildDecoder(architecture, reader, recorded(source, tensors), kvType);
  return { built, tensors: [...tensors.values()] };
}

export function buildRandom(config: RawConfig, name: string, quant: QuantizeType, kvType?: KvType): BuiltDecoder {
  return randomDecoder(config, name, quant, kvType).built;
}
