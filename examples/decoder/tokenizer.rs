//! The vocabulary of a GGUF file, in the crate `tokenizers`.

use lowbit::import::gguf::{GgufFile, Value};
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, PreTokenizerWrapper, SplitDelimiterBehavior, Tokenizer};

use crate::Result;

/// Text to tokens and back.
pub(crate) struct Vocabulary {
    tokenizer: Tokenizer,
    ends: Vec<u32>,
    begin: Option<u32>,
}

/// The number of control tokens in `tokenizer.ggml.token_type`.
const CONTROL: u64 = 3;

impl Vocabulary {
    pub(crate) fn read(file: &GgufFile<'_>) -> Result<Self> {
        let find = |key: &str| file.metadata().find(|(name, _)| *name == key).map(|(_, value)| value);
        let array = |key: &str| match find(key) {
            Some(Value::Array(array)) => Ok(array.values()),
            _ => Err(format!("the file has no array {key}: take one with its vocabulary")),
        };
        let number = |key: &str| match find(key) {
            Some(Value::Unsigned(number)) => u32::try_from(number).ok(),
            _ => None,
        };
        let text = |value| if let Value::Text(text) = value { text.to_string() } else { String::new() };
        let kind = find("tokenizer.ggml.model");
        if kind != Some(Value::Text("gpt2")) {
            return Err(format!("the vocabulary is {kind:?}, but only byte pairs (\"gpt2\") are known here").into());
        }
        let tokens: Vec<String> = array("tokenizer.ggml.tokens")?.map(text).collect();
        let vocab: Vocab = tokens.iter().cloned().zip(0..).collect();
        let pair = |merge: String| merge.split_once(' ').map(|(a, b)| (a.to_string(), b.to_string()));
        let merges = array("tokenizer.ggml.merges")?.map(text).filter_map(pair).collect();
        let model = BPE::builder().vocab_and_merges(vocab, merges).build().map_err(|error| error.to_string())?;
        let mut tokenizer = Tokenizer::new(model);
        let bytes = |words| ByteLevel::new(false, false, words);
        let split = |numbers: &str| -> Result<PreTokenizerWrapper> {
            let words = format!(
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{numbers}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            );
            let split = Split::new(SplitPattern::Regex(words), SplitDelimiterBehavior::Isolated, false);
            Ok(split.map_err(|error| error.to_string())?.into())
        };
        // Texts are split into words before pairs are joined.
        let steps: Vec<PreTokenizerWrapper> = match find("tokenizer.ggml.pre") {
            Some(Value::Text("gpt-2")) => vec![bytes(true).into()],
            Some(Value::Text("smollm")) => vec![Digits::new(true).into(), bytes(true).into()],
            Some(Value::Text("qwen2")) => vec![split(r"\p{N}")?, bytes(false).into()],
            Some(Value::Text("llama-bpe")) => vec![split(r"\p{N}{1,3}")?, bytes(false).into()],
            other => {
                let known = "gpt-2, smollm, qwen2 and llama-bpe";
                return Err(format!("words are split as by {other:?}, but known are {known}").into());
            }
        };
        tokenizer.with_pre_tokenizer(Some(Sequence::new(steps))).with_decoder(Some(bytes(false)));
        let kinds = array("tokenizer.ggml.token_type")?;
        let control = tokens.iter().zip(kinds).filter(|(_, kind)| match kind {
            Value::Signed(kind) => *kind as u64 == CONTROL,
            kind => *kind == Value::Unsigned(CONTROL),
        });
        let control = control.map(|(token, _)| AddedToken::from(token.clone(), true)).collect::<Vec<_>>();
        tokenizer.add_special_tokens(control).map_err(|error| error.to_string())?;
        let ends = [number("tokenizer.ggml.eos_token_id"), tokenizer.token_to_id("<|im_end|>")];
        let begin = (find("tokenizer.ggml.add_bos_token") == Some(Value::Bool(true)))
            .then(|| number("tokenizer.ggml.bos_token_id"))
            .flatten();
        Ok(Self { ends: ends.into_iter().flatten().collect(), begin, tokenizer })
    }

    /// The tokens of a text, or of a conversation that begins with it.
    pub(crate) fn encode(&self, text: &str, chat: bool) -> Result<Vec<u32>> {
        let text = if chat {
            format!("<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n")
        } else {
            text.to_string()
        };
        let encoded = self.tokenizer.encode(text, false).map_err(|error| error.to_string())?;
        Ok(self.begin.into_iter().chain(encoded.get_ids().iter().copied()).collect())
    }

    pub(crate) fn decode(&self, tokens: &[u32]) -> Result<String> {
        Ok(self.tokenizer.decode(tokens, true).map_err(|error| error.to_string())?)
    }

    pub(crate) fn is_end(&self, token: u32) -> bool {
        self.ends.contains(&token)
    }
}
