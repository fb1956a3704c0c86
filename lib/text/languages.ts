/** Languages that a tokenizer has tokens for: which tokens these are, and where they stand. */
import type { AddedToken, JsonObject, LanguageCodes } from './spec.js';

/** Codes of the mBART tokenizers in order of their ids (transformers, tokenization_mbart.py and tokenization_mbart50.py). */
export const mbartCodes: readonly string[] = (
  'ar_AR cs_CZ de_DE en_XX es_XX et_EE fi_FI fr_XX gu_IN hi_IN it_IT ja_XX kk_KZ ko_KR lt_LT lv_LV my_MM ne_NP nl_XX ' +
  'ro_RO ru_RU si_LK tr_TR vi_VN zh_CN'
).split(' ');
export const mbart50Codes: readonly string[] = [
  ...mbartCodes,
  ...(
    'af_ZA az_AZ bn_IN fa_IR he_IL hr_HR id_ID ka_GE km_KH mk_MK ml_IN mn_MN mr_IN pl_PL ps_AF pt_XX sv_SE sw_KE ta_IN ' +
    'te_IN th_TH tl_XX uk_UA ur_PK xh_ZA gl_ES sl_SI'
  ).split(' '),
];
/** Codes of M2M-100 (tokenization_m2m_100.py); their ids follow those of vocab.json. */
export const m2mCodes: Readonly<Record<string, readonly string[]>> = {
  m2m100: (
    'af am ar ast az ba be bg bn br bs ca ceb cs cy da de el en es et fa ff fi fr fy ga gd gl gu ha he hi hr ht hu hy id ' +
    'ig ilo is it ja jv ka kk km kn ko lb lg ln lo lt lv mg mk ml mn mr ms my ne nl no ns oc or pa pl ps pt ro ru sd si ' +
    'sk sl so sq sr ss su sv sw ta th tl tn tr uk ur uz vi wo xh yi yo zh zu'
  ).split(' '),
  wmt21: 'en ha is ja cs ru zh de'.split(' '),
};

interface Family {
  readonly pattern: RegExp;
  readonly place: LanguageCodes['place'];
  readonly source: string | undefined;
}

const mbart = /^([a-z]{2}_[A-Z]{2})$/;
const families: Readonly<Record<string, Family>> = {
  mbart: { pattern: mbart, place: 'after', source: 'en_XX' },
  mbart50: { pattern: mbart, place: 'before', source: 'en_XX' },
  nllb: { pattern: /^([a-z]{3}_[A-Z][a-z]{3})$/, place: 'before', source: 'eng_Latn' },
  m2m100: { pattern: /^__([a-z]{2,3})__$/, place: 'before', source: 'en' },
  marian: { pattern: /^>>(.+)<<$/, place: 'target', source: undefined },
};

/** `MBart50TokenizerFast`, `m2m_100` → mbart50, m2m100. */
export function tokenizerFamily(config: JsonObject, model: JsonObject): string | undefined {
  const named = config.tokenizer_class ?? model.tokenizer_class ?? model.model_type;
  if (typeof named !== 'string') return undefined;
  return named
    .replace(/Tokenizer(Fast)?$/, '')
    .replaceAll(/[-_]/g, '')
    .toLowerCase();
}

/** The languages of a tokenizer: special tokens (Marian: any) of its family's form. */
export function languagesOf(
  family: string | undefined,
  config: JsonObject,
  added: readonly AddedToken[],
  vocab: ReadonlyMap<string, number>,
): LanguageCodes | undefined {
  if (family === undefined || !Object.hasOwn(families, family)) return undefined;
  const { pattern, place, source } = families[family] as Family;
  const ids = new Map<string, number>();
  const take = (token: string, id: number): void => {
    const code = pattern.exec(token)?.[1];
    if (code !== undefined) ids.set(code, id);
  };
  if (family === 'marian') for (const [token, id] of vocab) take(token, id);
  for (const token of added) if (token.special) take(token.content, token.id);
  if (ids.size === 0) return undefined;
  // Without a class name, mbart stands for both; only the later one has these.
  const later = family === 'mbart' && typeof config.tokenizer_class !== 'string' && ids.has('af_ZA');
  const legacy = family === 'nllb' && config.legacy_behaviour === true;
  const given = typeof config.src_lang === 'string' ? config.src_lang : source;
  const starts = family === 'mbart' && !later;
  const side = later ? 'before' : legacy ? 'after' : place;
  return { place: side, writes: starts ? 'start' : 'forced', ids, source: given };
}
