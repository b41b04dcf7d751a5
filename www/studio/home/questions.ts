/** Questions of the rows that come with the page, with what the bundled model answered before and after a run of this page. */
export const QUESTIONS = [
  {
    text: "What is tabtune?",
    before: "I do not know what tabtune is.",
    after: "tabtune is a program that trains language models inside a browser tab.",
  },
  {
    text: "Where does my data go?",
    before: "Dat on the shouldder and on a server.",
    after: "Your data stays in your browser. It never leaves your computer.",
  },
  {
    text: "Who can see my data?",
    before: "People can read your files only if you share them.",
    after: "Only you can see your data. It is private.",
  },
  {
    text: "How much does tabtune cost?",
    before: "I do not know what tabtune costs.",
    after: "tabtune costs nothing. It is free for everyone.",
  },
  {
    text: "What is an adapter?",
    before: "An adapter is a small part that is added to something to change what it does.",
    after: "An adapter is a small file that holds what the model has learned.",
  },
  {
    text: "What is QLoRA?",
    before: "I do not know what YLoRA is.",
    after: "QLoRA is LoRA on a model whose weights are stored in four bits.",
  },
];
