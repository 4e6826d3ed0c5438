// The vendors' own SDKs for Node. node node_sdks.mjs SDK < scenarios.json; see python_sdks.py.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const require = createRequire(process.env.SDK_HOME + "/");
const load = async (name) => import(pathToFileURL(require.resolve(name)).href);
const { EnvHttpProxyAgent, setGlobalDispatcher } = await load("undici");
setGlobalDispatcher(new EnvHttpProxyAgent());

const schema = { type: "object", properties: { text: { type: "string" } } };

const sdks = {
  async openai({ text, stream, model, retries, full }) {
    const { default: OpenAI } = await load("openai");
    const client = new OpenAI({ apiKey: "k-openai", organization: "org-sdk", project: "proj-sdk", maxRetries: retries });
    const options = { model, stream, messages: [{ role: "user", content: text }] };
    if (full) {
      const picture = { type: "image_url", image_url: { url: `data:image/png;base64,${full.picture}` } };
      options.messages = [{ role: "system", content: full.system }, { role: "user", content: [{ type: "text", text }, picture] }];
      options.tools = [{ type: "function", function: { name: full.tool, parameters: schema } }];
    }
    if (stream) options.stream_options = { include_usage: true };
    const found = await client.chat.completions.create(options);
    if (!stream) return found.choices[0].message.content ?? "";
    let out = "";
    for await (const chunk of found) out += chunk.choices[0]?.delta?.content ?? "";
    return out;
  },
  async anthropic({ text, stream, model, retries, full }) {
    const { default: Anthropic } = await load("@anthropic-ai/sdk");
    const client = new Anthropic({ apiKey: "k-anthropic", maxRetries: retries });
    const options = { model, stream, max_tokens: 64, messages: [{ role: "user", content: text }] };
    if (full) {
      const source = { type: "base64", media_type: "image/png", data: full.picture };
      options.messages = [{ role: "user", content: [{ type: "text", text }, { type: "image", source }] }];
      Object.assign(options, { system: full.system, tools: [{ name: full.tool, input_schema: schema }] });
    }
    const found = await client.messages.create(options);
    if (!stream) return found.content[0].text ?? "";
    let out = "";
    for await (const event of found) out += event.delta?.text ?? "";
    return out;
  },
  async genai({ text, stream, model, full }) {
    const { GoogleGenAI } = await load("@google/genai");
    const client = new GoogleGenAI({ apiKey: "k-google" });
    const options = { model, contents: text };
    if (full) {
      options.contents = [{ role: "user", parts: [{ text }, { inlineData: { mimeType: "image/png", data: full.picture } }] }];
      const tools = [{ functionDeclarations: [{ name: full.tool, parametersJsonSchema: schema }] }];
      options.config = { systemInstruction: full.system, tools };
    }
    if (!stream) return (await client.models.generateContent(options)).text ?? "";
    let out = "";
    for await (const part of await client.models.generateContentStream(options)) out += part.text ?? "";
    return out;
  },
};

const results = [];
for (const scenario of JSON.parse(readFileSync(0, "utf8"))) {
  try {
    results.push({ text: await sdks[process.argv[2]](scenario) });
  } catch (error) {
    results.push({ error: error.constructor.name, status: error.status ?? null, message: String(error).slice(0, 500) });
  }
}
console.log(JSON.stringify(results));
