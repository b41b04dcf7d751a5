/** A turn of a chat. */
export interface Message {
  /** Who speaks: "user", "assistant" or "system", as far as the model's chat template knows them. */
  role: string;
  /** What is said. */
  content: string;
  /** Other fields, such as `tool_calls`, are left to the chat template. */
  [field: string]: unknown;
}

/**
 * What is to be answered: the turns of a chat, or a text that is continued as it stands, without the model's
 * chat template.
 */
export type Prompt = Message[] | string | { prompt: string };

export interface GenerateOptions {
  /**
   * Whether the active adapter takes part, or what a run of all weights made of them. By default it does where there is one; true is
   * an error where there is none.
   */
  adapter?: boolean;
  /**
   * Goes on with the last message of a chat, which must be the assistant's, and gives what follows it alone. The chat is cut
   * off right behind what that message says, by the rules of transformers' `apply_chat_template`; a template that leaves out or
   * changes what it says throws `bad-data`. A text is gone on from as it is. Default false.
   */
  continue_final_message?: boolean;
  /** Default 128. */
  max_new_tokens?: number;
  /** Default 0: the likeliest token each time. */
  temperature?: number;
  /**
   * Draws from so many of the likeliest tokens, and from those as likely as the last of them. Default 0: from all, where
   * transformers' default is 50.
   */
  top_k?: number;
  /** Draws from the likeliest tokens that together are as likely as this. Default 1: from all. */
  top_p?: number;
  /** Draws from the tokens that are at least this share as likely as the likeliest. Default 0: from all. */
  min_p?: number;
  /**
   * Above 1 makes tokens less likely that are there already, in the prompt too, and below 1 likelier; the likeliest token is
   * chosen after it too. Default 1: neither.
   */
  repetition_penalty?: number;
  /** The same one draws the same tokens. Default 0. */
  seed?: number;
}

/** How a generation ended. */
export interface GenerateResult {
  text: string;
  tokens: number;
  tokens_per_second: number;
  stop: "eos" | "length" | "cancelled";
}
