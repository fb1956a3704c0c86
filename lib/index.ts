/** Verdant runs transformers inside Node.js: typed model graphs, native kernels, continuous batching. */

export type { AudioInput } from './audio/read.js';
export type { StepTensor, StepTrace } from './engine/probe_step.js';
export type { FinishReason } from './engine/sequence.js';
export * from './errors.js';
export type {
  DryOptions,
  GenerateOptions,
  GenerationTrace,
  HeadMask,
  LogitsProcessor,
  MirostatOptions,
  ProcessorContext,
  SamplingOptions,
  Steering,
  XtcOptions,
} from './generation/options.js';
export { type PullOptions, type PullProgress, pull } from './hub/index.js';
export type { Architecture, GgufNames } from './models/architecture.js';
export { architectures } from './models/index.js';
export { devices } from './runtime/devices.js';
export type { DeviceInfo } from './runtime/native.js';
export type { NdArray } from './runtime/ops_types.js';
export { type GraphInput, type GraphOptions, type GraphRunner, openGraph } from './runtime/run_graph.js';
export type { Answer, AnswerModel, AnswerOptions } from './tasks/answer.js';
export type { ClassifyInput, ClassifyModel, ClassifyOptions, ClassScore } from './tasks/classify.js';
export type { EmbeddingModel, Embeddings, EmbedOptions } from './tasks/embed.js';
export type { EncoderCallOptions, EncoderInput, EncoderModel, FloatTensor, Truncate } from './tasks/encoder_model.js';
export type { FillMaskModel, FillMaskOptions, MaskCandidate } from './tasks/fill_mask.js';
export type {
  Completion,
  Generation,
  GenerationResult,
  Piece,
  Timings,
  TokenLogprob,
  Usage,
} from './tasks/generation.js';
export type { TextOutcome } from './tasks/in_order.js';

export type { AudioTrace, AudioTraceRequest } from './tasks/inspect_audio.js';
export type { EncoderTrace, EncoderTraceRequest } from './tasks/inspect_encoder.js';
export type { Layers, Trace, TracedText, TraceRequest } from './tasks/inspect_layers.js';
export type { SpectrogramInput, WhisperTrace, WhisperTraceRequest } from './tasks/inspect_whisper.js';
export type { LanguageOptions } from './tasks/languages.js';
export type { Lens, LensOptions, LensToken } from './tasks/lens.js';
export {
  type BuiltInModel,
  builtInModel,
  builtInModels,
  type LoadOptions,
  load,
  type Task,
  type TaskModels,
  type TaskOptions,
} from './tasks/load.js';
export type { Neighbour, NeighbourOptions, Token, TokenSum } from './tasks/neighbours.js';
export { type QuantizedTensor, type QuantizeOptions, type QuantizeResult, quantize } from './tasks/quantize.js';
export type { RankedDocument, RerankModel, RerankOptions } from './tasks/rerank.js';
export type { Seq2SeqModel, TranslateOptions } from './tasks/seq2seq_model.js';
export type { Session } from './tasks/session.js';
export type {
  CtcOptions,
  SpeechModel,
  TranscribedSegment,
  TranscribedWord,
  TranscribeOptions,
  Transcription,
  WhisperOptions,
} from './tasks/speech.js';
export type { ChatOptions, ForwardResult, Prompt, TextModel } from './tasks/text_model.js';
export type { TokenEntity, TokensModel, TokensOptions } from './tasks/tokens.js';
export {
  type AudioTraceInputs,
  type TraceInputs,
  type TraceOptions,
  type TraceTensor,
  traceModel,
} from './tasks/trace.js';
export { type SequenceOptions, type Sequences, traceSequences } from './tasks/trace_sequences.js';
export { CtcModel } from './tasks/transcribe_ctc.js';
export { WhisperModel } from './tasks/transcribe_whisper.js';
export type { ChatMessage } from './text/chat_template.js';
export type { Encoding, LanguageCodes, PairOptions, PairTruncation, Tokenizer } from './text/tokenizer.js';
export type { QuantizeType } from './weights/quantize_rules.js';
