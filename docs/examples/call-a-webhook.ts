// Calls Hookmill's webhooks with nothing but `fetch`.
//
// From a terminal, with the three variables of `source .hookmill/env`:
//
//   deno run --allow-env --allow-net docs/examples/call-a-webhook.ts f/examples/hello '{"name": "you"}'
//
// Deployed as a script it calls other scripts: each job has the same three variables, and a token
// of its own.

const base = Deno.env.get("BASE_INTERNAL_URL");
const jobs = `${base}/api/w/${Deno.env.get("WM_WORKSPACE")}`;
const headers = {
  Authorization: `Bearer ${Deno.env.get("WM_TOKEN")}`,
  "Content-Type": "application/json",
};

async function answer(response: Response): Promise<Response> {
  if (response.ok) return response;
  throw new Error(`${response.status}: ${await response.text()}`);
}

/** The synchronous webhook: answers with what the script returned. */
export async function wait(path: string, args: unknown) {
  const url = `${jobs}/jobs/run_wait_result/p/${path}`;
  const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(args) });
  return (await answer(response)).json();
}

/** The asynchronous webhook: answers with the job's uuid at once. */
export async function start(path: string, args: unknown): Promise<string> {
  const url = `${jobs}/jobs/run/p/${path}`;
  const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(args) });
  return (await answer(response)).text();
}

/** What has become of a job: `{started, success, completed, result}`. */
export async function look(id: string) {
  const response = await fetch(`${jobs}/jobs_u/completed/get_result_maybe/${id}`, { headers });
  return (await answer(response)).json();
}

export async function main(path: string, args: Record<string, unknown> = {}) {
  const result = await wait(path, args);
  const id = await start(path, args);
  let job = await look(id);
  while (!job.completed) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    job = await look(id);
  }
  return { waited_for: result, started: id, looked_up: job.result };
}

if (import.meta.main) {
  const [path, args = "{}"] = Deno.args;
  console.log(JSON.stringify(await main(path, JSON.parse(args))));
}
