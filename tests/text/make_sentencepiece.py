"""Makes the tiny SentencePiece tokenizers of tests/text/fixtures/spm, and what transformers and sentencepiece give for them.

    pip install tokenizers transformers sentencepiece protobuf && python tests/text/make_sentencepiece.py

sacremoses must not be installed: MarianTokenizer then leaves punctuation as it is.
"""
import json
import os
import shutil
import tempfile

import sentencepiece
from transformers import (M2M100Tokenizer, MarianTokenizer, MBart50Tokenizer, MBartTokenizer, NllbTokenizer, PegasusTokenizer,
                          T5Tokenizer, XLMRobertaTokenizer)

from transformers.models.m2m_100.tokenization_m2m_100 import FAIRSEQ_LANGUAGE_CODES

from make_tokenizers import CORPUS, TEXTS

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'fixtures', 'spm')
ENGLISH = [line for line in CORPUS[:3]] * 8
GERMAN = ['Der Maulwurf gräbt einen langen Gang unter dem Garten, und niemand hörte ihn.',
          'Ein Modell des Maulwurfs stand im Regal; dem Maulwurf war es gleich.',
          'Es regnet, sagten sie, also bleiben wir im Bau, bis es aufhört.'] * 8
# A few rules of nmt_nfkc and some that overlap: the whole map would be 240 KB.
RULES = [('\t', ' '), ('\n', ' '), ('\r', ' '), ('\u00a0', ' '), ('\u200b', ' '), ('\u3000', ' '), ('\u00ad', ''), ('ﬁ', 'fi'),
         ('½', '1⁄2'), ('Ⅷ', 'VIII'), ('e\u0301', 'é'), ('a\u0308', 'ä'), ('...', '…'), ('..', '‥'), ('。', '.'), ('...!', '!'),
         ('“', '"'), ('”', '"')]
MORE = ['  two  spaces  ', 'e\u0301e', 'wait.. wait... wait...! wait....', 'soft\u00adhyphen', '\u00ad', '\u3000', '▁', '▁▁a▁', 'a▁ b',
        'Der Maulwurf gräbt', 'ein Gang, 鼹鼠鼹鼠 und もぐら', 'tab\tand “quotes”', '<0x41> bytes', '[MARK][MARK]x [MARK]', ' [MARK]', 'x[M',
        '>>deu<< The mole', '>>deu<<The mole', '>>xxx<< The mole', 'a >>deu<< b', '>> no code', '>><<', 'Ende</w']


def train(path: str, corpus: list[str], kind: str, size: int, **options) -> sentencepiece.SentencePieceProcessor:
    with tempfile.TemporaryDirectory() as folder:
        rules = os.path.join(folder, 'rules.tsv')
        with open(rules, 'w', encoding='utf-8') as file:
            for old, new in RULES:
                codes = [' '.join(f'{ord(c):X}' for c in text) for text in (old, new)]
                file.write('\t'.join(codes) + '\n')
        prefix = os.path.join(folder, 'model')
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(corpus), model_prefix=prefix, model_type=kind, vocab_size=size, hard_vocab_limit=False,
            normalization_rule_tsv=rules, minloglevel=2, num_threads=1, character_coverage=0.995, **options)
        shutil.copy(f'{prefix}.model', path)
    return sentencepiece.SentencePieceProcessor(model_file=path)


def write(name: str, value: object, **options) -> None:
    with open(os.path.join(HERE, name), 'w', encoding='utf-8') as file:
        json.dump(value, file, ensure_ascii=False, **options)
        file.write('\n')


def folder(name: str, config: dict) -> str:
    path = os.path.join(HERE, name)
    os.makedirs(path)
    write(f'{name}/tokenizer_config.json', config, indent=1)
    return path


def vectors(name: str, tokenizer, encode, sp=None) -> None:
    """`encode` gives ids without special tokens; those that the class itself gives are told where they differ."""
    cases = []
    for text in TEXTS + MORE:
        ids = tokenizer.build_inputs_with_special_tokens(encode(text))
        # The tokenizers-backed classes spell bytes out.
        decoded = sp.decode(sp.encode(text)) if name == 't5_bytes' else tokenizer.decode(ids, skip_special_tokens=True)
        case = {'text': text, 'ids': ids, 'decoded': decoded}
        own = tokenizer(text).input_ids
        if own != ids:
            case['class_ids'] = own
        cases.append(case)
    write(f'{name}/vectors.json', {'specials': tokenizer.all_special_ids, 'cases': cases}, indent=1)


def plain(tokenizer):
    """Ids of the class itself."""
    return lambda text: tokenizer(text, add_special_tokens=False).input_ids


def marian() -> None:
    for name, separate in (('marian', False), ('marian_separate', True)):
        path = folder(name, {'tokenizer_class': 'MarianTokenizer', 'separate_vocabs': separate, 'source_lang': 'en', 'target_lang': 'de'})
        sides = [train(os.path.join(path, 'source.spm'), ENGLISH, 'unigram', 120),
                 train(os.path.join(path, 'target.spm'), GERMAN, 'unigram', 130, byte_fallback=False)]
        lists = [[sp.id_to_piece(i) for i in range(sp.get_piece_size())] for sp in sides]
        joint = sorted({p for pieces in lists for p in pieces} - {'<s>', '</s>', '<unk>'})
        joint.remove('▁mole')  # a piece that the vocabulary lacks
        first = ['</s>', '<unk>', '>>deu<<', '>>fra<<']
        if separate:
            write(f'{name}/vocab.json', {p: i for i, p in enumerate([*first, *lists[0][3:], '<pad>'])}, indent=0)
            write(f'{name}/target_vocab.json', {p: i for i, p in enumerate(['</s>', '<unk>', *lists[1][3:], '<pad>'])}, indent=0)
        else:
            write(f'{name}/vocab.json', {p: i for i, p in enumerate([*first, *joint, '<pad>'])}, indent=0)
        tokenizer = MarianTokenizer.from_pretrained(path)
        vectors(name, tokenizer, plain(tokenizer))
        cases = []
        for text in ['Der Maulwurf gräbt einen Gang.', 'niemand hörte ihn', 'ß 鼹鼠', '']:
            ids = tokenizer(text_target=text).input_ids
            cases.append({'text': text, 'ids': ids, 'decoded': tokenizer.decode(ids, skip_special_tokens=True)})
        write(f'{name}/target_vectors.json', cases, indent=1)


def m2m() -> None:
    path = folder('m2m_100', {'tokenizer_class': 'M2M100Tokenizer', 'src_lang': 'de', 'language_codes': 'm2m100', 'num_madeup_words': 8,
                              # as published: without them the class has no special tokens of languages
                              'additional_special_tokens': [f'__{code}__' for code in FAIRSEQ_LANGUAGE_CODES['m2m100']]})
    sp = train(os.path.join(path, 'sentencepiece.bpe.model'), ENGLISH + GERMAN, 'bpe', 160)
    pieces = [sp.id_to_piece(i) for i in range(3, sp.get_piece_size())]
    write('m2m_100/vocab.json', {p: i for i, p in enumerate(['<s>', '<pad>', '</s>', '<unk>', *pieces])}, indent=0)
    tokenizer = M2M100Tokenizer.from_pretrained(path)
    vectors('m2m_100', tokenizer, plain(tokenizer))


def by_pieces(sp, tokenizer):
    def encode(text: str) -> list[int]:
        known = set(tokenizer.get_vocab())
        return [tokenizer.convert_tokens_to_ids(p if p in known else '<unk>') for p in sp.encode(text, out_type=str)]
    return encode


class Wrapped:
    """A tokenizers-backed class with the special tokens of its template."""

    def __init__(self, tokenizer) -> None:
        self.tokenizer = tokenizer
        self.around = tokenizer('').input_ids

    def __getattr__(self, name: str):
        return getattr(self.tokenizer, name)

    def __call__(self, *args, **options):
        return self.tokenizer(*args, **options)

    def build_inputs_with_special_tokens(self, ids: list[int]) -> list[int]:
        inside = self.tokenizer('a').input_ids
        bare = self.tokenizer('a', add_special_tokens=False).input_ids
        at = next(i for i in range(len(inside)) if inside[i:i + len(bare)] == bare)
        return inside[:at] + ids + inside[at + len(bare):]


def others() -> None:
    own = {'pad_id': 0, 'eos_id': 1, 'unk_id': 2, 'bos_id': -1}
    for name, cls, file, options, config in (
            ('t5', T5Tokenizer, 'spiece.model', {**own, 'user_defined_symbols': ['[MARK]']}, {'extra_ids': 7}),
            ('t5_bytes', T5Tokenizer, 'spiece.model', {**own, 'byte_fallback': True, 'remove_extra_whitespaces': False}, {'extra_ids': 0}),
            ('pegasus', PegasusTokenizer, 'spiece.model', {**own, 'unk_id': 2}, {'offset': 11}),
            ('xlm_roberta', XLMRobertaTokenizer, 'sentencepiece.bpe.model', {}, {}),
            ('mbart', MBartTokenizer, 'sentencepiece.bpe.model', {}, {'src_lang': 'de_DE'}),
            ('mbart50', MBart50Tokenizer, 'sentencepiece.bpe.model', {}, {'src_lang': 'ro_RO'})):
        path = folder(name, {'tokenizer_class': cls.__name__, **config})
        size = 420 if 'byte_fallback' in options else 150
        sp = train(os.path.join(path, file), ENGLISH + GERMAN, 'unigram', size, **options)
        tokenizer = Wrapped(cls.from_pretrained(path))
        vectors(name, tokenizer, by_pieces(sp, tokenizer), sp)


def nllb() -> None:
    """Not of sentencepiece files: tokenizer.json, whose template has the default language."""
    path = os.path.join(HERE, '..', 'nllb')
    shutil.rmtree(path, ignore_errors=True)
    with tempfile.TemporaryDirectory() as bare:
        shutil.copy(os.path.join(HERE, 'm2m_100', 'sentencepiece.bpe.model'), bare)
        tokenizer = NllbTokenizer.from_pretrained(bare, src_lang='deu_Latn', extra_special_tokens=['deu_Latn', 'eng_Latn', 'fra_Latn', 'zho_Hans'])
    tokenizer.save_pretrained(path)
    cases = []
    for source in ('eng_Latn', 'fra_Latn', 'zho_Hans'):
        tokenizer.src_lang = source
        cases.append({'from': source, 'id': tokenizer.convert_tokens_to_ids(source), 'text': 'A model', 'ids': tokenizer('A model').input_ids})
    with open(os.path.join(path, 'vectors.json'), 'w', encoding='utf-8') as file:
        json.dump(cases, file, indent=1)


if __name__ == '__main__':
    shutil.rmtree(HERE, ignore_errors=True)
    os.makedirs(HERE)
    marian()
    m2m()
    others()
    nllb()
