//! A chat up to the end of what its last message says, for a model to go on with it.

use super::ChatTemplate;
use crate::bail;
use crate::data::example::Message;
use crate::error::Result;

impl ChatTemplate {
    /// Renders `messages` up to the end of the last one's content, as transformers does with
    /// `continue_final_message`.
    ///
    /// A mark and a space are put behind the content, and the text ends before the mark. Where the space is gone
    /// the template trims contents, so that the text is trimmed too.
    ///
    /// # Errors
    ///
    /// Those of [`ChatTemplate::render`], and `bad-data` where the last message is not the assistant's, or where
    /// the template leaves out or changes what it says.
    pub fn render_continued(&self, messages: &[Message]) -> Result<String> {
        let Some((last, before)) = messages.split_last().filter(|(last, _)| last.role() == "assistant")
        else {
            bail!(
                BadData,
                "continue_final_message goes on with what the assistant says, but the last message is of the role {:?}: \
                 end the chat with the assistant's message, or leave the option out to have it answered",
                messages.last().map_or("", Message::role)
            );
        };
        let mark = self.marks(messages, 1)?.get(0);
        let marked = last.with("content", format!("{}{mark} ", last.content()).into());
        let text = self.render(&[before, &[marked]].concat(), false)?.text;
        let end = text.rfind(mark).filter(|_| text.contains(last.content().trim()));
        let Some(end) = end else {
            bail!(
                BadData,
                "the chat template leaves out or changes what the last message says, so that it cannot be gone on with: \
                 leave continue_final_message out, and have the message before answered once more with a larger \
                 max_new_tokens"
            );
        };
        let keeps_spaces = text[end + mark.len_utf8()..].starts_with(' ');
        // A template may write what is said last twice.
        let text = text[..end].replace(&format!("{mark} "), "").replace(mark, "");
        Ok(if keeps_spaces { text } else { text.trim_end().to_owned() })
    }
}
