//! Files in and out, without a GPU: safetensors, NF4, `config.json` and PEFT adapters.

mod adapter;
mod blocks;
mod config;
mod files;
mod gguf;
mod gguf_config;
mod gguf_plan;
mod gguf_tokenizer;
mod nf4;
mod safetensors;
