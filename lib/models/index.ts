import { UnsupportedError } from '../errors.js';
import { nearest } from '../nearest.js';
import type { Architecture, DecoderArchitecture } from './architecture.js';
import { bart, m2m100, marian, mbart, pegasus } from './bart.js';
import { bert } from './bert.js';
import { bloom } from './bloom.js';
import { distilbert } from './distilbert.js';
import { electra } from './electra.js';
import { falcon } from './falcon.js';
import { gemma } from './gemma.js';
import { gemma2 } from './gemma2.js';
import { gemma3Text } from './gemma3_text.js';
import { gptNeo } from './gpt_neo.js';
import { gptNeox } from './gpt_neox.js';
import { gpt2 } from './gpt2.js';
import { gptj } from './gptj.js';
import { granite } from './granite.js';
import { llama } from './llama.js';
import { mistral } from './mistral.js';
import { mixtral } from './mixtral.js';
import { modernbert } from './modernbert.js';
import { mpnet } from './mpnet.js';
import { olmo2 } from './olmo2.js';
import { opt } from './opt.js';
import { phi } from './phi.js';
import { phi3 } from './phi3.js';
import { qwen2 } from './qwen2.js';
import { qwen3 } from './qwen3.js';
import { qwen3Moe } from './qwen3_moe.js';
import { roberta, xlmRoberta } from './roberta.js';
import { smolLm3 } from './smollm3.js';
import { stablelm } from './stablelm.js';
import { starcoder2 } from './starcoder2.js';
import { mt5, t5, t5Encoder } from './t5.js';
import { hubert, wav2vec2 } from './wav2vec2.js';
import { whisper } from './whisper.js';

/** All architectures. A new one: its file and its line here. */
export const architectures: readonly Architecture[] = [
  gpt2,
  llama,
  mistral,
  mixtral,
  qwen2,
  qwen3,
  qwen3Moe,
  phi3,
  gemma,
  gemma2,
  gemma3Text,
  bert,
  roberta,
  xlmRoberta,
  distilbert,
  electra,
  mpnet,
  modernbert,
  gptNeo,
  gptj,
  gptNeox,
  phi,
  stablelm,
  starcoder2,
  t5,
  mt5,
  t5Encoder,
  bart,
  mbart,
  marian,
  pegasus,
  m2m100,
  opt,
  olmo2,
  granite,
  smolLm3,
  bloom,
  falcon,
  wav2vec2,
  hubert,
  whisper,
];

/** The architecture of a config's `architectures[0]`, or of its `model_type` where that is absent. */
export function findArchitecture(className: string | undefined, modelType: string, file: string): Architecture {
  const found = architectures.find((a) =>
    className === undefined ? a.modelType === modelType : a.classes.includes(className),
  );
  if (found !== undefined) return found;
  const wanted = className ?? modelType;
  const names = architectures.flatMap((a) => (className === undefined ? [a.modelType] : a.classes));
  // The list stands in the hint, where it is not cut.
  throw new UnsupportedError('unsupported architecture', {
    ...{ file, name: 'architectures', found: wanted },
    hint: `Nearest: ${nearest(wanted, names).join(', ')}. Supported: ${names.join(', ')}. A model function of your own: load(path, { architecture })`,
  });
}

/** The same where only a decoder will do. */
export function findDecoder(className: string | undefined, modelType: string, file: string): DecoderArchitecture {
  const found = findArchitecture(className, modelType, file);
  if (found.kind === undefined || found.kind === 'decoder') return found;
  throw new UnsupportedError(`an ${found.kind} model continues no text`, {
    file,
    name: 'architectures',
    found: className ?? modelType,
  });
}

export {
  type Architecture,
  type DecoderArchitecture,
  type EncoderArchitecture,
  type GgufNames,
  ggufName,
  llamaGgufNames,
} from './architecture.js';
