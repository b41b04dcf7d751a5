"""Chat templates in the manner of the families' own: what each does that others do not, in other words.

Each is given with the place of the assistant's words between BEGIN and END, so that it can be had with and without
generation markers.
"""

# The system's words go before the first question, roles must take turns, and the assistant is called otherwise.
GEMMA3 = """{{ bos_token }}
{%- set first, turns = '', messages %}
{%- if messages[0].role == 'system' %}
    {%- set first, turns = messages[0].content + '\n\n', messages[1:] %}
{%- endif %}
{%- for message in turns %}
    {%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('roles must alternate') }}
    {%- endif %}
    {{- '<start_of_turn>' + ('model' if message.role == 'assistant' else message.role) + '\n' }}
    {{- first if loop.first else '' }}
    {%- if message.role == 'assistant' %}
        BEGIN
        {{- message.content | trim + '<end_of_turn>\n' }}
        END
    {%- else %}
        {{- message.content | trim + '<end_of_turn>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"""

# What is no prompt ends with an EOS, which TRL counts to the answer before it.
PHI3 = """{% for message in messages %}{{ '<|' + message['role'] + '|>\n' }}{% if message['role'] == 'assistant' %}
        BEGIN
{{ message['content'] + '<|end|>\n' }}
        END
{% else %}{{ message['content'] + '<|end|>\n' }}{% endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}
        BEGIN
        {{- eos_token }}
        END
{%- endif %}"""

# Headers without a line end, and tools that stand in a message.
PHI4 = """{%- for message in messages %}
    {%- if message['role'] == 'system' and 'tools' in message and message['tools'] is not none %}
        {{- '<|system|>' + message['content'] + '<|tool|>' + message['tools'] + '<|/tool|><|end|>' }}
    {%- elif message['role'] == 'assistant' %}
        {{- '<|assistant|>' }}
        BEGIN
        {{- message['content'] + '<|end|>' }}
        END
    {%- else %}
        {{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}
        BEGIN
        {{- eos_token }}
        END
{%- endif %}"""

# A dated system message where there is none, and variables that nobody sets. Of the date stands its length here.
GRANITE = """{%- set turns = messages %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system, turns = messages[0]['content'], messages[1:] %}
{%- else %}
    {%- set system = 'Of ' + strftime_now('%Y-%m-%d') | length | string + ' letters.\nYou help.' %}
    {%- if tools and documents %}
        {%- set system = system + ' With both.' %}
    {%- elif thinking %}
        {%- set system = system + ' With thoughts.' %}
    {%- endif %}
    {%- if 'citations' in controls and documents %}
        {%- set system = system + ' With sources.' %}
    {%- endif %}
{%- endif %}
{{- '<|start_of_role|>system<|end_of_role|>' + system + '<|end_of_text|>\n' }}
{%- if tools %}
    {{- '<|start_of_role|>tools<|end_of_role|>' + tools | tojson(indent=4) + '<|end_of_text|>\n' }}
{%- endif %}
{%- for message in turns %}
    {{- '<|start_of_role|>' + message['role'] + '<|end_of_role|>' }}
    {%- if message['role'] == 'assistant' %}
        BEGIN
        {{- message['content'] + '<|end_of_text|>\n' }}
        END
    {%- else %}
        {{- message['content'] + '<|end_of_text|>\n' }}
    {%- endif %}
    {%- if loop.last and add_generation_prompt %}
        {{- '<|start_of_role|>assistant' + (' ' + controls | tojson() if controls else '') + '<|end_of_role|>' }}
    {%- endif %}
{%- endfor %}"""

# Whether it thinks is told by a word of the system, which need not be there. As shipped, its markers take the header in.
SMOLLM3 = """{# defaults #}
{%- if enable_thinking is not defined -%}
{%- set enable_thinking = true -%}
{%- endif -%}
{%- set mode = "/think" if enable_thinking else "/no_think" -%}
{{- "<|im_start|>system\n" -}}
{%- if messages[0].role == "system" -%}
  {%- set said = messages[0].content -%}
  {%- if "/no_think" in said -%}
    {%- set mode = "/no_think" -%}
  {%- elif "/think" in said -%}
    {%- set mode = "/think" -%}
  {%- endif -%}
  {%- set wishes = said.replace("/no_think", "").replace("/think", "").rstrip() -%}
{%- endif -%}
{%- if "/system_override" in said -%}
  {{- wishes.replace("/system_override", "").rstrip() + "<|im_end|>\n" -}}
{%- else -%}
  {%- set today = strftime_now("%d %B %Y") -%}
  {{- "Day: " ~ (today is string) ~ "\nMode: " + mode + "\n\n" -}}
  {{- wishes + "\n\n" if wishes else "You help.\n\n" -}}
  {%- if xml_tools or python_tools -%}
    {%- set ns = namespace(text="<tools>\n") -%}
    {%- for tool in xml_tools[:] -%}
      {%- set ns.text = ns.text ~ (tool | string) ~ "\n" -%}
    {%- endfor -%}
    {{- ns.text + "</tools>\n\n<|im_end|>\n" -}}
  {%- endif -%}
{%- endif -%}
{%- for message in messages -%}
    {%- set content = message.content if message.content is string else "" -%}
    {%- if message.role == "user" -%}
        {{ "<|im_start|>" + message.role + "\n"  + content + "<|im_end|>\n" }}
    {%- elif message.role == "assistant" -%}
        {% generation %}
        {%- if mode == "/think" -%}
            {{ "<|im_start|>assistant\n" + content.lstrip("\n") + "<|im_end|>\n" }}
        {%- else -%}
            {{ "<|im_start|>assistant\n<think>\n\n</think>\n" + content.lstrip("\n") + "<|im_end|>\n" }}
        {%- endif -%}
        {% endgeneration %}
    {%- elif message.role == "tool" -%}
    {{ "<|im_start|>" + "user\n"  + content + "<|im_end|>\n" }}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{ "<|im_start|>assistant\n" ~ ("" if mode == "/think" else "<think>\n\n</think>\n") }}
{%- endif -%}
"""

# Calls of tools are JSON with an id, and the system's words stand in the last question, if that ends the chat.
MISTRAL3 = """{%- set turns = messages %}
{%- if messages[0]["role"] == "system" %}
    {%- set system, turns = messages[0]["content"], messages[1:] %}
{%- endif %}
{%- set questions = turns | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in turns %}
    {%- if not (message.role == "tool" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("roles must alternate") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in turns %}
    {%- if message["role"] == "user" %}
        {{- "[INST] " + ("of many " if message == questions[-1] else "") }}
        {{- system + "\n\n" if loop.last and system is defined else "" }}
        {{- message["content"] + "[/INST]" }}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        BEGIN
        {{- "[TOOL_CALLS] [" }}
        {%- for call in message.tool_calls %}
            {%- set out = call.function | tojson %}
            {{- out[:-1] + ', "id": "' + call.id + '"}' + (", " if not loop.last else "]" + eos_token) }}
        {%- endfor %}
        END
    {%- elif message["role"] == "assistant" %}
        BEGIN
        {{- " " + message["content"] | trim + eos_token }}
        END
    {%- else %}
        {%- if message.tool_call_id is not defined or message.tool_call_id | length != 9 %}
            {{- raise_exception("ids of calls have 9 letters") }}
        {%- endif %}
        {{- '[TOOL_RESULTS] {"content": ' + message.content | string + ', "call_id": "' + message.tool_call_id + '"}' }}
    {%- endif %}
{%- endfor %}
"""

# Each with the kind of tokenizer that it comes with.
FAMILIES = {
    "gemma3": ("gemma", GEMMA3),
    "phi3": ("phi3", PHI3),
    "phi4": ("phi4", PHI4),
    "granite": ("granite", GRANITE),
    "smollm3": ("qwen", SMOLLM3),
    "mistral3": ("metaspace", MISTRAL3),
}


def _with(template, begin, end):
    return template.replace("        BEGIN\n", begin).replace("        END\n", end)


def without_markers(name):
    return _with(FAMILIES[name][1], "", "")


def with_markers(name):
    return _with(FAMILIES[name][1], "        {%- generation %}\n", "        {%- endgeneration %}\n")
