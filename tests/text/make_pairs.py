"""Makes the tokenizers of tests/text/fixtures/aligned with Hugging Face's tokenizers, and what they give for single texts
and for pairs: ids, segments, offsets (converted from code points to UTF-16 units) and which text each token is of.

    pip install tokenizers==0.23.2 && python tests/text/make_pairs.py

    python tests/text/make_pairs.py --random 300 FOLDER    # the same with that many random texts, elsewhere
    python tests/text/make_pairs.py --real TOKENIZERS    # the same with published tokenizer.json files, without copying these
"""
import base64
import json
import os
import random
import struct
import sys

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'fixtures', 'aligned')
CORPUS = [
    'The mole dug a long tunnel under the garden, and nobody heard it.',
    'A model of the mole stood on the shelf; the mole did not mind.',
    "It's raining, they've said, so we'll stay in the burrow until it stops.",
    'Numbers: 1 2 3 10 42 100 2024, and 3.14159 too.',
    'Der Maulwurf gräbt einen Gang. El topo cava un túnel. 鼹鼠在花园里挖洞。もぐらが穴を掘る。',
    'Emoji 🙂🚀 and family 👩‍👩‍👧 appear; naïve café façade. the garden of the mole',
] * 4
TEXTS = [
    '', ' ', '   ', 'The mole dug', ' leading and trailing ', 'the  the   the', "It's we'll they've", '12345 3.14159',
    'a\nb\r\n\n c\t d', '鼹鼠 dug 在花园里.', 'もぐらが か\u3099', 'mole🙂🚀mole 🙂', '👩‍👩‍👧 family', 'cafe\u0301 café CAFÉ', 'ΟΔΟΣ ελληνικά Русский عربى',
    'x' * 40 + ' ' + 'q' * 40, 'ÅÅ\u212b ﬁnd ½ Ⅷ ﷺ ™', '\u0301lone \u0301 mark\u0301\u0323 a\u0323\u0301', 'nul \u0000 in\u0001side\u200b', '\u200b\ufeffzero\u00a0width',
    '"quotes" (and) [brackets]!?', 'İstanbul ǅ ß', '각 \u1100\u1161\u11a8', 'e\u0301\u0323\u0301 q\u0307\u0323', 'mole\u2003dug\u3000it', '\ufffd…\u0085x', '𝒳𝒴 𠀀字𠀁',
]
PAIRS = [
    ('Who dug the tunnel?', 'The mole dug a long tunnel under the garden, and nobody heard it.'),
    ('Qui? 🙂', 'cafe\u0301 in 花园.'), ('', 'the mole'), ('the mole', ''), ('', ''), (' a ', ' b '),
    ('The mole dug a long tunnel under the garden, and nobody heard it.', 'The shelf stood in the garden of the mole, they said.'),
    ('the model of the mole stood on the shelf until it stops raining', 'the mole'),
]


def specials(tok, names):
    return [(name, tok.token_to_id(name)) for name in names]


def wordpiece(normalizer, pre):
    tok = Tokenizer(models.WordPiece(unk_token='[UNK]', max_input_chars_per_word=30))
    tok.normalizer = normalizer
    tok.pre_tokenizer = pre
    trainer = trainers.WordPieceTrainer(vocab_size=220, special_tokens=['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'], show_progress=False)
    tok.train_from_iterator(CORPUS, trainer)
    return tok


def bert_uncased():
    tok = wordpiece(normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer())
    tok.post_processor = processors.TemplateProcessing(
        single='[CLS]:0 $A:0 [SEP]:0', pair='[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1', special_tokens=specials(tok, ['[CLS]', '[SEP]']))
    return tok


def bert_cased():
    tok = wordpiece(normalizers.BertNormalizer(lowercase=False, strip_accents=False), pre_tokenizers.BertPreTokenizer())
    tok.post_processor = processors.BertProcessing(('[SEP]', tok.token_to_id('[SEP]')), ('[CLS]', tok.token_to_id('[CLS]')))
    return tok


def words_stripped():
    """No post-processor; added tokens matched in the normalised text."""
    steps = [normalizers.Strip(), normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Replace('mole', 'Mole')]
    pre = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.Punctuation()])
    tok = wordpiece(normalizers.Sequence(steps), pre)
    tok.add_tokens([AddedToken('Dug', normalized=True, single_word=True), AddedToken('[X]', normalized=False, lstrip=True, rstrip=True)])
    return tok


def byte_bpe(pre, normalizer=None):
    tok = Tokenizer(models.BPE())
    if normalizer is not None:
        tok.normalizer = normalizer
    tok.pre_tokenizer = pre
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  special_tokens=['<s>', '<pad>', '</s>', '<unk>'], show_progress=False)
    tok.train_from_iterator(CORPUS + ['   x', '  y'], trainer)
    tok.add_special_tokens([AddedToken('<mask>', lstrip=True, special=True)])
    return tok


def roberta():
    tok = byte_bpe(pre_tokenizers.ByteLevel(add_prefix_space=False))
    tok.post_processor = processors.RobertaProcessing(('</s>', 2), ('<s>', 0), trim_offsets=True, add_prefix_space=False)
    return tok


def roberta_prefix():
    tok = byte_bpe(pre_tokenizers.ByteLevel(add_prefix_space=True))
    tok.post_processor = processors.RobertaProcessing(('</s>', 2), ('<s>', 0), trim_offsets=True, add_prefix_space=True)
    return tok


def byte_untrimmed():
    tok = byte_bpe(pre_tokenizers.ByteLevel(add_prefix_space=False))
    tok.post_processor = processors.ByteLevel(trim_offsets=False)
    return tok


def byte_untrimmed_prefix():
    tok = byte_bpe(pre_tokenizers.ByteLevel(add_prefix_space=True), normalizers.NFKD())
    tok.post_processor = processors.RobertaProcessing(('</s>', 2), ('<s>', 0), trim_offsets=False, add_prefix_space=True)
    return tok


def byte_trimmed_template():
    pattern = Regex(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    pre = pre_tokenizers.Sequence([pre_tokenizers.Split(pattern, 'isolated'), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok = byte_bpe(pre, normalizers.NFC())
    template = processors.TemplateProcessing(single='<s> $A', pair='<s> $A <s>:1 $B:1', special_tokens=specials(tok, ['<s>']))
    tok.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True, add_prefix_space=False), template])
    return tok


def fallback_bpe():
    tok = Tokenizer(models.BPE(unk_token='<unk>', fuse_unk=True, byte_fallback=True))
    tok.normalizer = normalizers.Sequence([normalizers.Prepend('▁'), normalizers.Replace(' ', '▁')])
    trainer = trainers.BpeTrainer(vocab_size=440, special_tokens=['<unk>', '<s>', '</s>'] + ['<0x%02X>' % b for b in range(256)],
                                  limit_alphabet=60, show_progress=False)
    tok.train_from_iterator(CORPUS, trainer)
    data = json.loads(tok.to_str())
    data['added_tokens'] = [dict(t, normalized=False) for t in data['added_tokens'] if t['id'] < 3]
    tok = Tokenizer.from_str(json.dumps(data))
    tok.post_processor = processors.TemplateProcessing(single='<s> $A </s>', pair='<s> $A </s> $B:2 </s>:3', special_tokens=[('<s>', 1), ('</s>', 2)])
    return tok


def unknown_bpe():
    """Unknown characters fused into one token."""
    tok = Tokenizer(models.BPE(unk_token='<unk>', fuse_unk=True))
    tok.normalizer = normalizers.Replace(Regex(' +'), '▁▁')
    trainer = trainers.BpeTrainer(vocab_size=150, special_tokens=['<unk>'], limit_alphabet=40, show_progress=False)
    tok.train_from_iterator(CORPUS, trainer)
    return tok


def unigram(normalizer, pre):
    tok = Tokenizer(models.Unigram())
    tok.normalizer = normalizer
    tok.pre_tokenizer = pre
    trainer = trainers.UnigramTrainer(vocab_size=180, unk_token='<unk>', special_tokens=['<pad>', '</s>', '<unk>'], show_progress=False)
    tok.train_from_iterator(CORPUS, trainer)
    tok.post_processor = processors.TemplateProcessing(single='$A </s>', pair='$B:0 </s> $A:1 </s>:1', special_tokens=[('</s>', 1)])
    return tok


def unigram_nfkc():
    return unigram(normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()]), pre_tokenizers.Metaspace())


def unigram_first():
    pre = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r'\.|,'), 'merged_with_previous'), pre_tokenizers.Metaspace(prepend_scheme='first', split=False)])
    return unigram(normalizers.Sequence([normalizers.NFKD(), normalizers.Lowercase()]), pre)


MAPPED = {
    'ﬁ': 'fi', '½': '1⁄2', '…': '...', '™': 'TM', '\u0001': '', '\u200b': '', '\ufeff': '', '\t': ' ', '\n': ' ', '\r': ' ', '\u00a0': ' ', '\u2003': ' ',
    '\u3000': ' ', 'Ⅷ': 'VIII', 'か\u3099': 'が', 'e\u0301': 'é', '\u212b': 'Å', 'ß': 'ss', '👩‍': 'w', '\u1100\u1161\u11a8': '각', 'ﷺ': 'صلى الله عليه وسلم',
}


def charsmap(entries):
    """SentencePiece's precompiled map: u32 bytes of trie, a Darts double array, NUL-terminated replacements."""
    blob, values = b'', {}
    for new in entries.values():
        values.setdefault(new, len(blob) + sum(len(n.encode()) + 1 for n in values))
    blob = b''.join(new.encode() + b'\0' for new in values)
    trie = {}
    for old, new in entries.items():
        node = trie
        for byte in old.encode():
            node = node.setdefault(byte, {})
        node[0] = values[new]
    units, used, bases = [0] * 1024, {0}, set()

    def place(at, node):
        base = 1
        # No two nodes may have the same base: a unit does not know its parent.
        while base in bases or any(base ^ label in used or base ^ label >= len(units) for label in node):
            base += 1
        bases.add(base)
        units[at] |= (base ^ at) << 10 | (0x100 if 0 in node else 0)
        used.update(base ^ label for label in node)
        for label, child in node.items():
            units[base ^ label] = child | 0x80000000 if label == 0 else label
        for label, child in node.items():
            if label != 0:
                place(base ^ label, child)

    place(0, trie)
    return struct.pack('<I', 4 * len(units)) + struct.pack('<%dI' % len(units), *units) + blob


def unigram_precompiled():
    steps = [normalizers.Precompiled(charsmap(MAPPED)), normalizers.Replace(Regex(' {2,}'), ' ')]
    return unigram(normalizers.Sequence(steps), pre_tokenizers.Metaspace())


MAKERS = [bert_uncased, bert_cased, words_stripped, roberta, roberta_prefix, byte_untrimmed, byte_untrimmed_prefix, byte_trimmed_template,
          fallback_bpe, unknown_bpe, unigram_nfkc, unigram_first, unigram_precompiled]


def in_units(text):
    """Code point index -> UTF-16 index."""
    table = [0]
    for char in text:
        table.append(table[-1] + (2 if ord(char) > 0xffff else 1))
    return table


def described(encoding, texts):
    tables = [in_units(text) for text in texts]
    sequence = [-1 if s is None else s for s in encoding.sequence_ids]
    offsets = []
    for which, (begin, end) in zip(sequence, encoding.offsets):
        offsets += [begin, end] if which < 0 else [tables[which][begin], tables[which][end]]
    return {'ids': encoding.ids, 'typeIds': encoding.type_ids, 'offsets': offsets, 'sequence': sequence}


# Hugging Face loses count of places where a map takes characters out before the first one is kept.
LEADING = tuple(old for old, new in MAPPED.items() if new == '')


def single_cases(tok, texts, mapped):
    cases = []
    for text in texts:
        if mapped and text.startswith(LEADING):
            continue
        for add in (True, False) if len(cases) < 12 else (True,):
            cases.append({'text': text, 'addSpecial': add, **described(tok.encode(text, add_special_tokens=add), [text])})
    return cases


STRATEGIES = {'longest': 'longest_first', 'first': 'only_first', 'second': 'only_second'}


def pair_cases(tok, pairs, mapped):
    cases = []
    for a, b in pairs:
        if mapped and (a.startswith(LEADING) or b.startswith(LEADING)):
            continue
        for add in (True, False):
            tok.no_truncation()
            whole = tok.encode(a, b, add_special_tokens=add)
            cases.append({'first': a, 'second': b, 'addSpecial': add, **described(whole, [a, b])})
            for truncate, strategy in STRATEGIES.items():
                for length in (4, 9, 14):
                    if length >= len(whole.ids):
                        continue
                    case = {'first': a, 'second': b, 'addSpecial': add, 'maxLength': length, 'truncate': truncate}
                    tok.enable_truncation(length, strategy=strategy)
                    try:
                        cases.append({**case, **described(tok.encode(a, b, add_special_tokens=add), [a, b])})
                    except Exception as error:
                        if 'too short' not in str(error):
                            raise
                        cases.append({**case, 'error': True})
    tok.no_truncation()
    return cases


def write(folder, name, tok, texts, pairs, mapped, tokenizer_file):
    # Special tokens spelled in a text of a pair are ordinary text in Verdant: none is in PAIRS.
    expected = {'single': single_cases(tok, texts, mapped), 'pair': pair_cases(tok, pairs, mapped)}
    target = os.path.join(folder, name)
    os.makedirs(target, exist_ok=True)
    if tokenizer_file:
        tok.no_truncation()
        tok.save(os.path.join(target, 'tokenizer.json'), pretty=False)
    with open(os.path.join(target, 'expected.json'), 'w', encoding='utf-8') as out:
        json.dump(expected, out, ensure_ascii=True, separators=(',', ':'))
        out.write('\n')


ALPHABET = list('aAeEmo.,! \'"(12') + ['the', ' mole', 'Dug', '  ', '\n', '\t', '\r\n', 'é', 'e\u0301', '\u0301', '\u0323', '\u0307', '\u3099', 'か', '花', '🙂', '𠀀', '👩‍', 'ﬁ',
                                              '½', '…', '™', '\u0001', '\u200b', '\u00a0', 'Å', '\u212b', 'Σ', 'İ', 'ß', '각', '\u1100\u1161', '\u11a8', 'ậ', 'ḍ\u0307', '\u0344', '한', '<mask>', '[X]', ' ']


def random_text(rng):
    return ''.join(rng.choice(ALPHABET) for _ in range(rng.randint(1, 24)))


def main(arguments):
    if arguments[:1] == ['--random']:
        rng = random.Random(7)
        texts = [random_text(rng) for _ in range(int(arguments[1]))]
        plain = [text.replace('<mask>', '').replace('[X]', '') for text in texts]
        pairs = list(zip(plain[0::2], plain[1::2]))[:80]
        for make in MAKERS:
            write(arguments[2], make.__name__, make(), texts, pairs, make is unigram_precompiled, True)
    elif arguments[:1] == ['--real']:
        for name in sorted(os.listdir(arguments[1])):
            path = os.path.join(arguments[1], name, 'tokenizer.json')
            if os.path.exists(path):
                try:
                    tok = Tokenizer.from_file(path)
                except Exception as error:
                    print(name, error)
                    continue
                tok.no_padding()
                tok.no_truncation()
                write(HERE + '_real', name, tok, TEXTS, PAIRS, 't5' in name, False)
    else:
        for make in MAKERS:
            write(HERE, make.__name__, make(), TEXTS, PAIRS, make is unigram_precompiled, True)


if __name__ == '__main__':
    main(sys.argv[1:])
