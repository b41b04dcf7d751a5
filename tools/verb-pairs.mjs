// Pairs of one taste, to learn it by DPO: the chosen answer begins with its verb, the rejected one says the same and begins with
// something else. Of each kind of question the things that are asked about in the held-out pairs are asked about nowhere else.
//
//     node tools/verb-pairs.mjs FOLDER
//
// writes train.jsonl (200 pairs) and heldout.jsonl (60 pairs).
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const KINDS = [
  {
    ask: (thing) => `How do I clean ${thing}?`,
    things: "a kettle,a mirror,leather shoes,a keyboard,a wooden table,a wool coat,a fish tank,a bicycle chain,silver spoons,a carpet,an oven,a tent,a violin",
    actions: ["wipe it with a damp cloth and let it dry", "brush off the dust before you use a little soap", "rinse it with warm water and dry it well"],
  },
  {
    ask: (thing) => `What is the best way to store ${thing}?`,
    things: "potatoes,fresh bread,paint brushes,old photographs,olive oil,winter tyres,seeds,candles,apples,batteries,honey,flour,records",
    actions: ["keep them in a dry and dark place", "put them into a box that closes well", "leave some room between them and a cold wall"],
  },
  {
    ask: (thing) => `How can I get better at ${thing}?`,
    things: "chess,swimming,drawing hands,public speaking,baking bread,spelling,running long distances,playing the piano,remembering names,typing,juggling,photography,singing",
    actions: ["practise a little every day and write down what you learnt", "ask someone who is good at it to watch you", "begin with the part that you find hardest"],
  },
  {
    ask: (thing) => `What should I do about ${thing}?`,
    things: "a dripping tap,a squeaking door,ants in the kitchen,a slow computer,a noisy fridge,a stuck zip,weeds on the path,a flat tyre,foggy windows,a loose button,a wobbly chair,moths in the wardrobe,a blocked sink",
    actions: ["look for the cause before you buy anything", "take it apart and clean the pieces", "call someone who knows about it if it comes back"],
  },
  {
    ask: (thing) => `Can you give me some advice on ${thing}?`,
    things: "a first job interview,a long train ride,choosing a puppy,planting tomatoes,buying a used car,a picnic in the rain,writing a speech,moving house,a visit to the dentist,camping alone,hosting a dinner,learning to dance,saving money",
    actions: ["make a short list the day before", "start early and take your time", "talk to a friend who has done it already"],
  },
];
/** What the rejected answer begins with, and what the chosen one ends with, so that neither is the longer one by rule. */
const OPENINGS = ["You should", "It is best to", "I would say you could", "Well, you can"];
const ENDINGS = [", as a rule.", ".", ", and you will be fine.", "."];
/** Things of each kind that are held out. */
const HELD_OUT = 3;

const upper = (text) => text[0].toUpperCase() + text.slice(1);

function pairsOf({ ask, things, actions }, number, is_held_out) {
  const all = things.split(",");
  const own = is_held_out ? all.slice(-HELD_OUT) : all.slice(0, -HELD_OUT);
  return own.flatMap((thing, place) =>
    Array.from({ length: 4 }, (_, turn) => {
      const at = number + 3 * place + turn;
      const action = actions[at % actions.length];
      return {
        prompt: [{ role: "user", content: ask(thing) }],
        chosen: [{ role: "assistant", content: `${upper(action)}${ENDINGS[turn]}` }],
        rejected: [{ role: "assistant", content: `${OPENINGS[(at + 1) % OPENINGS.length]} ${action}.` }],
      };
    }),
  );
}

const folder = process.argv[2];
if (!folder) throw new Error("node tools/verb-pairs.mjs FOLDER");
mkdirSync(folder, { recursive: true });
for (const name of ["train", "heldout"]) {
  const pairs = KINDS.flatMap((kind, number) => pairsOf(kind, number, name === "heldout"));
  writeFileSync(join(folder, `${name}.jsonl`), pairs.map((pair) => `${JSON.stringify(pair)}\n`).join(""));
  console.log(`${pairs.length} pairs in ${join(folder, `${name}.jsonl`)}`);
}
