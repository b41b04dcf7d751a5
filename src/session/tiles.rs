//! Which tiles the products of the model take.

use super::{Session, no_model};
use crate::data::kv::{Key, Kv, Table, Write};
use crate::error::Result;
use crate::kernels::linear::Tile;
use crate::kernels::tiles::{Product, Tiles};
use crate::train::options::{ComputeDtype, QuantizationOptions};
use crate::tune::{self, Tuning};

impl Session {
    /// Chooses how products are tiled, before a run is prepared; by default what suits the adapter,
    /// and on GPUs what was found fastest when the model was loaded.
    pub fn set_tile(&mut self, tile: Tile) {
        self.tiles = tile.into();
        self.is_fixed = true;
    }

    /// The tiles of the model's products.
    pub fn tiles(&self) -> &Tiles {
        &self.tiles
    }

    /// Finds the fastest tiles for the loaded model among `candidates`, for at most some `budget` seconds.
    /// What was found on this adapter before is taken, and what was not timed then is timed now. Code
    /// `bad-state` without a model.
    pub async fn tune(&mut self, candidates: &[Tile], budget: f64) -> Result<()> {
        let Some(loaded) = &self.loaded else { return Err(no_model()) };
        let products = loaded.model.products();
        let key = self.tiles_key(&products, candidates);
        let mut tuning = self.found_before(&key).await?.unwrap_or_else(|| Tuning::new(self.device.summary()));
        if !tuning.complete {
            tune::tune(&self.device, &products, candidates, budget, &mut tuning).await?;
            let json = serde_json::to_vec(&tuning).expect("a tuning is plain data");
            // What cannot be kept is found again another time.
            let _ = self.rows.write(vec![Write::Put(key, json)]).await;
        }
        self.tiles = tuning.tiles;
        Ok(())
    }

    /// The tiles that are tried for a model without being asked.
    pub(super) fn candidates(&self, quantization: &QuantizationOptions) -> Vec<Tile> {
        let with_f16 = quantization.bnb_4bit_compute_dtype == ComputeDtype::Float16;
        tune::candidates(self.device.summary(), with_f16)
    }

    /// The tiles that a model with `products` would take if it were loaded now.
    pub(super) async fn tiles_for(
        &self,
        products: &[Product],
        quantization: &QuantizationOptions,
    ) -> Result<Tiles> {
        let key = self.tiles_key(products, &self.candidates(quantization));
        Ok(match self.found_before(&key).await? {
            Some(tuning) if !self.is_fixed => tuning.tiles,
            _ => self.tiles.clone(),
        })
    }

    fn tiles_key(&self, products: &[Product], candidates: &[Tile]) -> Key {
        Key::new(Table::Notes, &tune::cache_key(self.device.summary(), products, candidates), 0)
    }

    /// What tuning found on this adapter before. What another version wrote and this one cannot read is
    /// found anew.
    async fn found_before(&self, key: &Key) -> Result<Option<Tuning>> {
        let known = self.rows.get_one(key.clone()).await.unwrap_or_default();
        Ok(known.and_then(|json| serde_json::from_slice(&json).ok()))
    }
}
