//! `./build.sh bench`: where the time of a training step goes, by shader, on the native adapter.

use serde_json::json;
use tabtune::data::store::MemoryStore;
use tabtune::error::Result;
use tabtune::files::Directory;
use tabtune::session::{PrepareOptions, Session};

fn main() -> Result<()> {
    pollster::block_on(async {
        let mut arguments = std::env::args().skip(1);
        let model = arguments.next().unwrap_or_else(|| "www/models/tiny".to_owned());
        let mut session = Session::open(MemoryStore::default()).await?;
        println!("adapter {} ({})", session.adapter().name, session.adapter().driver);
        session.load_model(&Directory(model.into()), &json!({"load_in_4bit": true}), &mut |_| {}).await?;
        let train = json!({"per_device_train_batch_size": 4, "max_length": 128, "max_steps": 5});
        let data = Directory("www/data".into());
        session.import_dataset("rows", &data, "faq.jsonl", &train, &mut |_, _| {}).await?;
        let lora = json!({"r": 8, "target_modules": "all-linear"});
        let options = PrepareOptions { lora, train, dataset: "rows", eval_dataset: None };
        session.prepare::<Directory>(options, None).await?;
        while let Some(log) = session.train_step().await? {
            println!("step {} {:.0} ms, {:.0} tokens/s", log.step, log.step_millis, log.tokens_per_second);
        }
        let tokens = session.trainer()?.tokens_max();
        let mut rows = session.profile().await?;
        rows.sort_by(|a, b| b.2.total_cmp(&a.2));
        let all: f64 = rows.iter().map(|row| row.2).sum();
        println!("one step of {tokens} tokens, one dispatch at a time: {:.1} ms", all * 1e3);
        println!("{:40} {:>5} {:>9} {:>6} {:>9}", "shader", "count", "ms", "share", "GFLOP/s");
        for (shader, count, seconds, flops) in rows {
            println!(
                "{shader:40} {count:5} {:9.2} {:5.1}% {:9.2}",
                seconds * 1e3,
                100.0 * seconds / all,
                flops as f64 / seconds / 1e9
            );
        }
        Ok(())
    })
}
