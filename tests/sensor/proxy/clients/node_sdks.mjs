// The vendors' own SDKs for Node. node node_sdks.mjs SDK < scenarios.json; see python_sdks.py.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const require = createRequire(process.env.SDK_HOME + "/");
const load = async (name) => import(pathToFileURL(require.resolve(name)).href);
const { EnvHttpProxyAgent, setGlobalDispatcher } = await load("undici");
setGlobalDispatcher(new EnvHttpProxyAgent());

const sdks = {
  async openai({ text, stream, model, retries }) {
    const { default: OpenAI } = await load("openai");
    const client = new OpenAI({ apiKey: "k-openai", maxRetries: retries });
    const found = await client.chat.completions.create({ model, stream, messages: [{ role: "user", content: text }] });
    if (!stream) return found.choices[0].message.content;
    let out = "";
    for await (const chunk of found) out += chunk.choices[0]?.delta?.content ?? "";
    return out;
  },
  async anthropic({ text, stream, model, retries }) {
    const { default: Anthropic } = await load("@anthropic-ai/sdk");
    const client = new Anthropic({ apiKey: "k-anthropic", maxRetries: retries });
    const found = await client.messages.create({ model, stream, max_tokens: 64, messages: [{ role: "user", content: text }] });
    if (!stream) return found.content[0].text;
    let out = "";
    for await (const event of found) out += event.delta?.text ?? "";
    return out;
  },
  async genai({ text, stream, model, retries }) {
    const { GoogleGenAI } = await load("@google/genai");
    const client = new GoogleGenAI({ apiKey: "k-google" });
    if (!stream) return (await client.models.generateContent({ model, contents: text })).text;
    let out = "";
    for await (const part of await client.models.generateContentStream({ model, contents: text })) out += part.text ?? "";
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
