/** Types of `load()`: the task says what comes out. */
import { describe, expectTypeOf, it } from 'vitest';
import {
  type AnswerModel,
  type ClassifyModel,
  type ClassScore,
  type EmbeddingModel,
  type FillMaskModel,
  type Generation,
  load,
  type RerankModel,
  type Seq2SeqModel,
  type SpeechModel,
  type TextModel,
  type TextOutcome,
  type TokensModel,
  type Transcription,
} from '../../lib/index.js';

declare const classifier: ClassifyModel;
declare const ears: SpeechModel;
declare const translator: Seq2SeqModel;

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
    expectTypeOf(load('x', { task: 'translate' })).resolves.toEqualTypeOf<Seq2SeqModel>();
    expectTypeOf(load('x', { task: 'summarize' })).resolves.toEqualTypeOf<Seq2SeqModel>();
    // @ts-expect-error no such task
    load('x', { task: 'paint' });
    // @ts-expect-error an encoder needs a path
    load(undefined, { task: 'embed' });
  });

  it('one text, an array or a stream of translations', () => {
    const to = { to: 'de' };
    expectTypeOf(translator.translate('a', to)).toEqualTypeOf<Generation>();
    expectTypeOf(translator.translate([1, 2], to)).toEqualTypeOf<Generation>();
    expectTypeOf(translator.translate(['a'], to)).toEqualTypeOf<Promise<string[]>>();
    expectTypeOf(translator.translate(new Set(['a']), to)).toEqualTypeOf<
      AsyncGenerator<TextOutcome, void, undefined>
    >();
    expectTypeOf(translator.summarize(['a'])).toEqualTypeOf<Promise<string[]>>();
    // @ts-expect-error a summary has no language
    translator.summarize('a', to);
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
