/** Types of `load()`: the task says what comes out. */
import { describe, expectTypeOf, it } from 'vitest';
import {
  type AnswerModel,
  type ClassifyModel,
  type ClassScore,
  type EmbeddingModel,
  type FillMaskModel,
  load,
  type RerankModel,
  type SpeechModel,
  type TextModel,
  type TokensModel,
  type Transcription,
} from '../../lib/index.js';

declare const classifier: ClassifyModel;
declare const ears: SpeechModel;

describe('load()', () => {
  it('gives what the task does', () => {
    expectTypeOf(load()).resolves.toEqualTypeOf<TextModel>();
    expectTypeOf(load('x', { threads: 1 })).resolves.toEqualTypeOf<TextModel>();
    expectTypeOf(load('x', { task: 'embed' })).resolves.toEqualTypeOf<EmbeddingModel>();
    expectTypeOf(load('x', { task: 'rerank' })).resolves.toEqualTypeOf<RerankModel>();
    expectTypeOf(load('x', { task: 'classify' })).resolves.toEqualTypeOf<ClassifyModel>();
    expectTypeOf(load('x', { task: 'tokens' })).resolves.toEqualTypeOf<TokensModel>();
    expectTypeOf(load('x', { task: 'answer' })).resolves.toEqualTypeOf<AnswerModel>();
    expectTypeOf(load('x', { task: 'fillMask' })).resolves.toEqualTypeOf<FillMaskModel>();
    expectTypeOf(load('x', { task: 'transcribe' })).resolves.toEqualTypeOf<SpeechModel>();
    // @ts-expect-error no such task
    load('x', { task: 'paint' });
    // @ts-expect-error an encoder needs a path
    load(undefined, { task: 'embed' });
  });

  it('one text or many', () => {
    expectTypeOf(classifier.classify('a')).resolves.toEqualTypeOf<ClassScore[]>();
    expectTypeOf(classifier.classify(['a'])).resolves.toEqualTypeOf<ClassScore[][]>();
    expectTypeOf(ears.transcribe('a.wav')).resolves.toEqualTypeOf<Transcription>();
    expectTypeOf(ears.transcribe(['a.wav', new Float32Array(9)])).resolves.toEqualTypeOf<Transcription[]>();
    // @ts-expect-error samples of 64 bits are not converted
    ears.transcribe(new Float64Array(9));
    // @ts-expect-error embeddings are another task
    classifier.embed('a');
  });
});
