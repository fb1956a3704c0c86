"""Makes the tiny tokenizers of tests/text/fixtures with Hugging Face's tokenizers, and the ids and texts that they give.

    pip install tokenizers transformers jinja2 && python tests/text/make_tokenizers.py
"""
import json
import os

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'fixtures')
CORPUS = [
    'The mole dug a long tunnel under the garden, and nobody heard it.',
    'A model of the mole stood on the shelf; the mole did not mind.',
    "It's raining, they've said, so we'll stay in the burrow until it stops.",
    'Numbers: 1 2 3 10 42 100 2024, and 3.14159 too.',
    'Der Maulwurf gräbt einen Gang. El topo cava un túnel. 鼹鼠在花园里挖洞。もぐらが穴を掘る。',
    'Emoji 🙂🚀 and family 👩‍👩‍👧 appear; naïve café façade.',
] * 4
TEXTS = [
    '', ' ', '   ', 'The mole dug', ' leading and trailing ', 'the the the', "It's we'll they've", '12345 3.14', 'a\nb\r\n\n c\t d',
    '鼹鼠在花园里', 'もぐら', '🙂🚀', '👩‍👩‍👧', 'cafe\u0301 café', 'ελληνικά Русский عربى', 'x' * 300, 'mole ' * 50,
    '<|end|>', 'user <|end|> text', '▁mole', 'nul \u0000 inside', '\u200b\ufeffzero width', '½ Ⅷ ﬁ ﷺ', '"quotes" (and) [brackets]!?',
]


def byte_bpe():
    tok = Tokenizer(models.BPE())
    pattern = Regex(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(pattern, 'isolated'), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=420, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  special_tokens=['<|begin|>', '<|end|>'], show_progress=False)
    tok.train_from_iterator(CORPUS, trainer)
    tok.post_processor = processors.TemplateProcessing(single='<|begin|> $A', special_tokens=[('<|begin|>', 0)])
    return tok


def fallback_bpe():
    tok = Tokenizer(models.BPE(unk_token='<unk>', fuse_unk=True, byte_fallback=True))
    tok.normalizer = normalizers.Sequence([normalizers.Prepend('▁'), normalizers.Replace(' ', '▁')])
    specials = ['<unk>', '<s>', '</s>'] + ['<0x%02X>' % b for b in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=460, special_tokens=specials, limit_alphabet=80, show_progress=False)
    tok.train_from_iterator(CORPUS, trainer)
    data = json.loads(tok.to_str())
    data['added_tokens'] = [dict(t, normalized=False) for t in data['added_tokens'] if t['id'] < 3]
    tok = Tokenizer.from_str(json.dumps(data))
    tok.decoder = decoders.Sequence([decoders.Replace('▁', ' '), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(' ', 1, 0)])
    tok.post_processor = processors.TemplateProcessing(single='<s> $A', special_tokens=[('<s>', 1)])
    return tok


def unigram():
    tok = Tokenizer(models.Unigram())
    tok.normalizer = normalizers.NFKC()
    tok.pre_tokenizer = pre_tokenizers.Metaspace()
    tok.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=260, unk_token='<unk>', special_tokens=['<pad>', '</s>', '<unk>'], show_progress=False)
    tok.train_from_iterator(CORPUS, trainer)
    tok.post_processor = processors.TemplateProcessing(single='$A </s>', special_tokens=[('</s>', 1)])
    return tok


def wordpiece():
    tok = Tokenizer(models.WordPiece(unk_token='[UNK]'))
    tok.normalizer = normalizers.BertNormalizer()
    tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tok.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'], show_progress=False)
    tok.train_from_iterator(CORPUS, trainer)
    tok.post_processor = processors.TemplateProcessing(single='[CLS] $A [SEP]', special_tokens=[('[CLS]', 2), ('[SEP]', 3)])
    return tok


def main():
    for make in (byte_bpe, fallback_bpe, unigram, wordpiece):
        folder = os.path.join(HERE, make.__name__)
        os.makedirs(folder, exist_ok=True)
        tok = make()
        tok.save(os.path.join(folder, 'tokenizer.json'), pretty=False)
        cases = []
        for text in TEXTS:
            ids = tok.encode(text).ids
            cases.append({
                'text': text,
                'ids': ids,
                'bare': tok.encode(text, add_special_tokens=False).ids,
                'decoded': tok.decode(ids, skip_special_tokens=False),
                'skipped': tok.decode(ids, skip_special_tokens=True),
            })
        with open(os.path.join(folder, 'expected.json'), 'w', encoding='utf-8') as out:
            json.dump(cases, out, ensure_ascii=True, indent=0)


if __name__ == '__main__':
    main()
