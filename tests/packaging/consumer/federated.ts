// Uses every name that tabtune/federated exports, for the type checker alone.
import { Dataset, Trainer } from "tabtune";
import {
  Federation,
  runName,
  VERSION,
  type Aggregation,
  type Bounds,
  type DeltaDtype,
  type FederationEvent,
  type FederationOptions,
  type Offer,
  type Privacy,
  type Round,
  type Terms,
} from "tabtune/federated";

export const version: string = VERSION;

export async function learn(address: string, signal: AbortSignal): Promise<number[]> {
  const terms: Terms = await Federation.terms(address, { signal });
  const [aggregation, dtype]: [Aggregation, DeltaDtype] = [terms.aggregation, terms.delta_dtype];
  const { mask, noise }: Privacy = terms.privacy;
  const bounds: Bounds = { max_steps: 10, masked: mask, noised: noise !== "none" };
  const trainer = await Trainer.load(terms.base_model_name_or_path, { lora: terms.lora, signal });
  const agree = ({ bytes_up, server, fingerprint }: Offer) => confirm(`${bytes_up} ${server} ${fingerprint} ${aggregation} ${dtype}`);
  const on_event = (event: FederationEvent) => console.log(event.type === "step" ? event.log.loss : event.type);
  const options: FederationOptions = { trainer, dataset: await Dataset.open("mine"), bounds, agree, policy: false, on_event, signal };
  const federation = await Federation.join(address, options);
  const rounds: Round[] = [];
  for await (const round of federation.rounds()) rounds.push(round);
  await federation.leave();
  console.log(federation.offer.values, federation.terms.train.max_steps);
  await Trainer.forget(runName(address));
  return rounds.map(({ loss_after }) => loss_after);
}
