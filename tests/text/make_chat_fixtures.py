"""Renders chat templates of the usual styles with transformers' Jinja set-up: tests/text/fixtures/chat.json.

    pip install transformers jinja2 && python tests/text/make_chat_fixtures.py
"""
import json
import os

from transformers.utils.chat_template_utils import render_jinja_template

HERE = os.path.dirname(os.path.abspath(__file__))
CHATML = """{%- for message in messages %}
    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}"""
LLAMA3 = """{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] | trim %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set system_message = '' %}
    {%- set loop_messages = messages %}
{%- endif %}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' + system_message + '<|eot_id|>' }}
{%- for message in loop_messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"""
QWEN = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
    {{- '# Tools\\n<tools>' }}
    {%- for tool in tools %}
        {{- '\\n' }}{{- tool | tojson }}
    {%- endfor %}
    {{- '\\n</tools><|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'user' or (message.role == 'assistant' and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- elif message.role == 'assistant' %}
        {{- '<|im_start|>assistant' }}
        {%- for call in message.tool_calls %}
            {%- if call.function %}{%- set call = call.function %}{%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' + call.name + '", "arguments": ' }}{{- call.arguments | tojson }}{{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == 'tool' %}
        {%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\\n<tool_response>\\n' + message.content + '\\n</tool_response>' }}
        {%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{- '<|im_end|>\\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""
GEMMA = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}\
{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}\
{% if message['role'] == 'assistant' %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}\
{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}\
{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"""
MISTRAL = """{%- set ns = namespace(count=0) %}{{- bos_token }}
{%- for message in messages %}
    {%- if message['role'] == 'user' %}
        {%- set ns.count = ns.count + 1 %}
        {{- '[INST] ' + message['content'] + ' [/INST]' }}
    {%- elif message['role'] == 'assistant' %}
        {%- if message['content'] is string %}{{- ' ' + message['content'].strip() + eos_token }}{%- endif %}
    {%- endif %}
{%- endfor %}"""
TALK = [
    {'role': 'user', 'content': '  What digs tunnels? <b> "quotes" & more\n'},
    {'role': 'assistant', 'content': ' The mole does. 鼹鼠 🙂 '},
    {'role': 'user', 'content': 'Why?'},
]
SYSTEM = [{'role': 'system', 'content': 'You know moles.\n'}]
TOOLS = [{'type': 'function', 'function': {'name': 'dig', 'description': 'Digs "deep" <down>', 'parameters': {
    'type': 'object', 'properties': {'depth': {'type': 'number'}}, 'required': ['depth']}}}]
CALLS = [
    {'role': 'user', 'content': 'Dig 3 m.'},
    {'role': 'assistant', 'content': '', 'tool_calls': [{'type': 'function', 'function': {'name': 'dig', 'arguments': {'depth': 3, 'where': 'héré'}}}]},
    {'role': 'tool', 'content': '{"done": true}'},
    {'role': 'tool', 'content': 'mud'},
    {'role': 'user', 'content': 'Thanks'},
]
NAMED = {'bos_token': '<s>', 'eos_token': '</s>'}


def main():
    cases = []
    for name, source, talks, tools in [
        ('chatml', CHATML, [TALK, SYSTEM + TALK], None), ('llama3', LLAMA3, [TALK, SYSTEM + TALK], None),
        ('qwen', QWEN, [TALK, SYSTEM + TALK, SYSTEM + CALLS], None), ('qwen-tools', QWEN, [TALK, SYSTEM + TALK, SYSTEM + CALLS], TOOLS),
        ('gemma', GEMMA, [TALK], None), ('mistral', MISTRAL, [TALK], None),
    ]:
        for messages in talks:
            for prompt in (False, True):
                text = render_jinja_template([messages], tools=tools, chat_template=source, add_generation_prompt=prompt, **NAMED)[0][0]
                cases.append({'name': name, 'template': source, 'messages': messages, 'tools': tools, 'prompt': prompt, 'text': text})
    with open(os.path.join(HERE, 'fixtures', 'chat.json'), 'w', encoding='utf-8') as out:
        json.dump({'named': NAMED, 'cases': cases}, out, indent=1)


if __name__ == '__main__':
    main()
