/** Tables of the GGUF format. Source: ggml's gguf.md and `GGML_QUANT_SIZES` of the gguf Python package. */
import type { FileDType } from './types.js';

export type GgufScalarType =
  | 'uint8'
  | 'int8'
  | 'uint16'
  | 'int16'
  | 'uint32'
  | 'int32'
  | 'float32'
  | 'bool'
  | 'string'
  | 'uint64'
  | 'int64'
  | 'float64';

/** Metadata value types by number; 9 is `array`. */
export const ggufValueTypes: readonly (GgufScalarType | 'array')[] = [
  'uint8',
  'int8',
  'uint16',
  'int16',
  'uint32',
  'int32',
  'float32',
  'bool',
  'string',
  'array',
  'uint64',
  'int64',
  'float64',
];

/** Bytes of one value in a file; for a string, of its length field. */
export const ggufValueBytes: Readonly<Record<GgufScalarType, number>> = {
  uint8: 1,
  int8: 1,
  uint16: 2,
  int16: 2,
  uint32: 4,
  int32: 4,
  float32: 4,
  bool: 1,
  string: 8,
  uint64: 8,
  int64: 8,
  float64: 8,
};

/** Tensor types by number: name, elements per block, bytes per block. A removed type has its old name only. */
export const ggmlTypes: ReadonlyMap<number, readonly [FileDType, number, number] | string> = new Map<
  number,
  readonly [FileDType, number, number] | string
>([
  [0, ['f32', 1, 4]],
  [1, ['f16', 1, 2]],
  [2, ['q4_0', 32, 18]],
  [3, ['q4_1', 32, 20]],
  [4, 'q4_2'],
  [5, 'q4_3'],
  [6, ['q5_0', 32, 22]],
  [7, ['q5_1', 32, 24]],
  [8, ['q8_0', 32, 34]],
  [9, ['q8_1', 32, 36]],
  [10, ['q2_k', 256, 84]],
  [11, ['q3_k', 256, 110]],
  [12, ['q4_k', 256, 144]],
  [13, ['q5_k', 256, 176]],
  [14, ['q6_k', 256, 210]],
  [15, ['q8_k', 256, 292]],
  [16, ['iq2_xxs', 256, 66]],
  [17, ['iq2_xs', 256, 74]],
  [18, ['iq3_xxs', 256, 98]],
  [19, ['iq1_s', 256, 50]],
  [20, ['iq4_nl', 32, 18]],
  [21, ['iq3_s', 256, 110]],
  [22, ['iq2_s', 256, 82]],
  [23, ['iq4_xs', 256, 136]],
  [24, ['i8', 1, 1]],
  [25, ['i16', 1, 2]],
  [26, ['i32', 1, 4]],
  [27, ['i64', 1, 8]],
  [28, ['f64', 1, 8]],
  [29, ['iq1_m', 256, 56]],
  [30, ['bf16', 1, 2]],
  [31, 'q4_0_4_4'],
  [32, 'q4_0_4_8'],
  [33, 'q4_0_8_8'],
  [34, ['tq1_0', 256, 54]],
  [35, ['tq2_0', 256, 66]],
  [36, 'iq4_nl_4_4'],
  [37, 'iq4_nl_4_8'],
  [38, 'iq4_nl_8_8'],
  [39, ['mxfp4', 32, 17]],
  [40, ['nvfp4', 64, 36]],
  [41, ['q1_0', 128, 18]],
]);

/** A numeric array keeps its type; bools are 0 or 1. */
export type GgufNumbers =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | BigUint64Array
  | BigInt64Array
  | Float64Array;

export type GgufValue =
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'uint64' | 'int64'; readonly value: bigint }
  | { readonly type: Exclude<GgufScalarType, 'bool' | 'string' | 'uint64' | 'int64'>; readonly value: number }
  | { readonly type: 'array'; readonly items: 'string'; readonly value: readonly string[] }
  | { readonly type: 'array'; readonly items: Exclude<GgufScalarType, 'string'>; readonly value: GgufNumbers };
