/**
 * Every error that Verdant throws: one class per kind, a stable `code`, and the facts of the case.
 * A message says what was expected, what was found, where (file, tensor, option), and what to do.
 */

/** Facts of a case: where it happened, what was allowed, what was there. All optional; printed in this order. */
export interface ErrorFacts {
  /** File that the problem lies in. */
  readonly file?: string | undefined;
  /** Name of the tensor, as the file spells it. */
  readonly tensor?: string | undefined;
  /** Name of the option, config field or graph value. */
  readonly name?: string | undefined;
  readonly expected?: unknown;
  readonly found?: unknown;
  /** What the reader can do about it. */
  readonly hint?: string | undefined;
  readonly cause?: unknown;
}

/** A value as a short text, whatever it is: cyclic, huge, a bigint, an object whose getters throw. */
function show(value: unknown, most: number): string {
  const text = typeof value === 'string' ? value : describe(value, 0);
  return text.length > most ? `${text.slice(0, most)}…` : text;
}

/** JSON with NaN, bigints and functions as they are written in code; lists and objects to 16 entries and 3 levels. */
function describe(value: unknown, depth: number): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 300));
  if (typeof value === 'function') return 'a function';
  if (typeof value !== 'object' || value === null) return String(value);
  try {
    if (value instanceof Date) return String(value);
    const list = Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView));
    if (depth > 2) return list ? '[…]' : '{…}';
    const inner = (v: unknown): string => describe(v, depth + 1);
    if (list) {
      const items = Array.prototype.slice.call(value, 0, 16).map(inner);
      return `[${items.join(',')}${(value as ArrayLike<unknown>).length > 16 ? ',…' : ''}]`;
    }
    const keys = Object.keys(value);
    const fields = keys.slice(0, 16).map((k) => `${inner(k)}:${inner((value as Record<string, unknown>)[k])}`);
    return `{${fields.join(',')}${keys.length > 16 ? ',…' : ''}}`;
  } catch {
    return 'an object that cannot be read';
  }
}

function compose(message: string, facts: ErrorFacts): string {
  let text = facts.file !== undefined ? `${facts.file}: ` : '';
  if (facts.tensor !== undefined) text += `tensor ${facts.tensor}: `;
  text += message;
  if ('expected' in facts) text += `; expected ${show(facts.expected, 4000)}`;
  if ('found' in facts) text += `; found ${show(facts.found, 300)}`;
  if (facts.hint !== undefined) text += `. ${facts.hint}`;
  return text;
}

/** Base class of all errors: `code` is stable, the message is for people. */
export class VerdantError extends Error {
  readonly code: string;
  readonly facts: ErrorFacts;

  constructor(code: string, message: string, facts: ErrorFacts = {}) {
    super(compose(message, facts), facts.cause === undefined ? undefined : { cause: facts.cause });
    this.name = new.target.name;
    this.code = code;
    this.facts = facts;
  }
}

/** Makes one error class: its code is fixed, its constructor takes a message and the facts. */
function kind(code: string) {
  return class extends VerdantError {
    constructor(message: string, facts: ErrorFacts = {}) {
      super(code, message, facts);
    }
  };
}

/** No model at that path, or that hub id is not cached and cannot be reached. */
export class ModelNotFoundError extends kind('ERR_MODEL_NOT_FOUND') {}
/** A file breaks the rules of its format: truncated, wrong counts, offsets out of range. */
export class CorruptFileError extends kind('ERR_FILE_CORRUPT') {}
/** A file changed between opening and reading it. */
export class FileChangedError extends kind('ERR_FILE_CHANGED') {}
/** A config field is missing, of the wrong kind, or out of range. */
export class ConfigError extends kind('ERR_CONFIG') {}
/** Something legal that Verdant does not do (yet): architecture, weight type, feature. Never silently ignored. */
export class UnsupportedError extends kind('ERR_UNSUPPORTED') {}
/** A tensor that the model needs is not in the checkpoint. */
export class TensorMissingError extends kind('ERR_TENSOR_MISSING') {}
/** A tensor has another shape or dtype than the config implies. */
export class TensorShapeError extends kind('ERR_TENSOR_SHAPE') {}
/** The checkpoint holds tensors that the model does not use. */
export class TensorUnusedError extends kind('ERR_TENSOR_UNUSED') {}
/** A graph or program is malformed. */
export class GraphError extends kind('ERR_GRAPH') {}
/** An option is unknown, of the wrong kind, or out of range. */
export class OptionError extends kind('ERR_OPTION') {}
/** The input of a call is unusable: empty prompt, id out of range, wrong type. */
export class InputError extends kind('ERR_INPUT') {}
/** Prompt and requested tokens do not fit the context. */
export class ContextOverflowError extends kind('ERR_CONTEXT_OVERFLOW') {}
/** The object was disposed. */
export class DisposedError extends kind('ERR_DISPOSED') {}
/** Memory for weights, KV cache or arena cannot be had. */
export class OutOfMemoryError extends kind('ERR_OUT_OF_MEMORY') {}
/** A request's logits became NaN. */
export class NumericError extends kind('ERR_NUMERIC') {}
/** No such device, or the device failed. */
export class DeviceError extends kind('ERR_DEVICE') {}
/** A tokenizer file or its use is wrong. */
export class TokenizerError extends kind('ERR_TOKENIZER') {}
/** A chat template is missing or fails. */
export class TemplateError extends kind('ERR_TEMPLATE') {}
/** The hub cannot be reached, refuses, or sends something else than it declared. */
export class HubError extends kind('ERR_HUB') {}

/** The caller's `AbortSignal` fired, or the call was cancelled. `name` is `AbortError`, as the platform has it. */
export class AbortError extends VerdantError {
  constructor(message = 'The operation was aborted', facts: ErrorFacts = {}) {
    super('ERR_ABORTED', message, facts);
    this.name = 'AbortError';
  }
}

const byCode: Record<string, new (message: string, facts?: ErrorFacts) => VerdantError> = {
  ERR_FILE_CORRUPT: CorruptFileError,
  ERR_FILE_CHANGED: FileChangedError,
  ERR_UNSUPPORTED: UnsupportedError,
  ERR_GRAPH: GraphError,
  ERR_INPUT: InputError,
  ERR_OPTION: OptionError,
  ERR_DISPOSED: DisposedError,
  ERR_OUT_OF_MEMORY: OutOfMemoryError,
  ERR_NUMERIC: NumericError,
  ERR_DEVICE: DeviceError,
};

/** Turns an `Error{code, message}` thrown by native code into its class here; anything else passes unchanged. */
export function fromNative(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const code = (error as { code?: unknown }).code;
  if (code === 'ERR_ABORTED') return new AbortError(error.message, { cause: error });
  const Class = typeof code === 'string' ? byCode[code] : undefined;
  return Class === undefined ? error : new Class(error.message, { cause: error });
}
