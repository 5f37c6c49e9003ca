import { execFileSync } from "node:child_process";
import { chownSync, existsSync, realpathSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** What a client is asked for. Nothing here names a proxy, and nothing says whom to trust. */
export interface Client {
  readonly name: string;
  /** Why it cannot be tried on this machine. */
  readonly skip: string | false;
  /** Which server it speaks to. */
  readonly server: "https" | "http2" | "git" | "registry" | "postgres" | "redis" | "ssh";
  readonly command: (host: string, port: number) => readonly string[];
  readonly read?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** On success. */
  readonly says: RegExp;
  /** Of a host that is not allowed: standard output or error. */
  readonly complains: RegExp;
  /** Its processes or memory are larger than usual. */
  readonly large?: true;
}

/** What the clients need in the workspace. */
export interface ClientFiles {
  readonly workspace: string;
  readonly ssh: { readonly key: string; readonly hostKey: string; readonly user: string } | undefined;
}

/** Clients that take long to build or to start, too. */
export const ALL: boolean = process.env["CALLGATE_CLIENTS"] === "all";
/** Why one is left out where not all are asked for. */
export const SLOW = "CALLGATE_CLIENTS=all tries it";

const NODE = dirname(dirname(realpathSync(process.execPath)));
const UNRESOLVED =
  /resolve|not known|ENOTFOUND|no such host|UnknownHost|Unresolved|Name or service|getaddrinfo|ConnectException/i;

function absent(...paths: readonly string[]): string | false {
  const missing = paths.find((path) => !existsSync(path));
  return missing === undefined ? false : `${missing} is not there`;
}

const NODE_FETCH = `const r = await fetch(process.argv[1]).catch((e) => { console.log(e.cause?.code ?? e); process.exit(1) }); console.log(await r.text())`;

/** The package, which has a newer client than the one inside of Node. */
export const UNDICI: string = dirname(fileURLToPath(import.meta.resolve("undici/package.json")));
const UNDICI_REQUEST = `const { request } = require(process.argv[1]);
request(process.argv[2]).then(({ body }) => body.text()).then(console.log, (e) => { console.log(e.code ?? e); process.exit(1) })`;

const GO = `package main
import ("fmt"; "io"; "net/http"; "os")
func main() {
  r, err := http.Get(os.Args[1])
  if err != nil { fmt.Println(err); os.Exit(1) }
  b, _ := io.ReadAll(r.Body)
  fmt.Println(string(b))
}
`;

const JAVA = `import java.net.URI;
import java.net.http.*;
public class Fetch {
  public static void main(String[] a) throws Exception {
    var r = HttpClient.newHttpClient().send(HttpRequest.newBuilder(URI.create(a[0])).build(), HttpResponse.BodyHandlers.ofString());
    System.out.println(r.body());
  }
}
`;

const GO_PROGRAM = "/usr/local/go/bin/go";
const JAVAC = "/usr/bin/javac";
const PIP = "/usr/lib/python3/dist-packages/pip";
const REQUESTS = "/usr/lib/python3/dist-packages/requests";

/** Built outside, where a compiler may use a cache and a home. */
function build({ workspace, ssh }: ClientFiles): void {
  if (ALL && existsSync(GO_PROGRAM)) {
    writeFileSync(join(workspace, "fetch.go"), GO);
    execFileSync(GO_PROGRAM, ["build", "-o", "fetch-go", "fetch.go"], {
      cwd: workspace,
      env: {
        PATH: "/usr/bin:/bin",
        HOME: workspace,
        GOFLAGS: "-mod=mod",
        CGO_ENABLED: "0",
        GOTOOLCHAIN: "local",
      },
      stdio: "ignore",
    });
  }
  if (ALL && existsSync(JAVAC)) {
    writeFileSync(join(workspace, "Fetch.java"), JAVA);
    execFileSync(JAVAC, ["Fetch.java"], { cwd: workspace, stdio: "ignore" });
  }
  if (ssh === undefined) return;
  writeFileSync(join(workspace, "key"), ssh.key, { mode: 0o600 });
  const { uid, gid } = statSync(workspace);
  chownSync(join(workspace, "key"), uid, gid);
}

export function clients(files: ClientFiles): readonly Client[] {
  build(files);
  const { workspace, ssh } = files;
  const https = (host: string, port: number): string => `https://${host}:${port}/x`;
  const web = { server: "https", says: /from the host/, complains: UNRESOLVED } as const;
  return [
    {
      ...web,
      name: "curl",
      skip: absent("/usr/bin/curl"),
      command: (host, port) => ["curl", "-sS", https(host, port)],
    },
    {
      ...web,
      name: "curl, HTTP/2",
      skip: absent("/usr/bin/curl"),
      server: "http2",
      command: (host, port) => ["curl", "-sS", "--http2", https(host, port)],
      says: /h2 for/,
    },
    {
      ...web,
      name: "openssl s_client",
      skip: absent("/usr/bin/openssl"),
      command: (host, port) => [
        ...[
          "bash",
          "-c",
          'printf "GET /x HTTP/1.0\\r\\nHost: $1:$2\\r\\n\\r\\n" | openssl s_client -quiet -verify_return_error -servername "$1" -connect "$1:$2" -CAfile "$SSL_CERT_FILE"',
        ],
        ...["x", host, `${port}`],
      ],
    },
    {
      name: "git",
      skip: absent("/usr/bin/git"),
      server: "git",
      command: (host, port) => [
        ...[
          "bash",
          "-c",
          'git clone -q "$1" /tmp/c && cat /tmp/c/README && cd /tmp/c && git -c user.name=t -c user.email=t@t commit -q --allow-empty -m two && git push -q origin HEAD:refs/heads/p$RANDOM && echo pushed',
        ],
        ...["x", `https://${host}:${port}/repo.git`],
      ],
      says: /from the repository\npushed/,
      complains: UNRESOLVED,
    },
    {
      name: "npm",
      skip: absent(join(NODE, "bin/npm"), join(NODE, "lib/node_modules/npm")) && absent("/usr/bin/npm"),
      server: "registry",
      command: (host, port) => [
        ...[
          "bash",
          "-c",
          'cd /tmp && "$2" --fetch-retries=0 --no-audit --no-fund --cache /tmp/n --registry "$1" install tiny-thing && ls node_modules',
        ],
        ...["x", `https://${host}:${port}/`, "npm"],
      ],
      says: /tiny-thing/,
      complains: UNRESOLVED,
      large: true,
    },
    {
      name: "pip",
      skip: absent(PIP),
      server: "registry",
      command: (host, port) => [
        ...["/usr/bin/python3", "-m", "pip", "install", "--retries", "0", "--disable-pip-version-check"],
        ...[
          "--no-deps",
          "--target",
          "/tmp/p",
          "--index-url",
          `https://${host}:${port}/simple/`,
          "tiny-thing",
        ],
      ],
      says: /Successfully installed tiny-thing/,
      complains: /No matching distribution|resolve|not known|NewConnectionError/i,
      large: true,
    },
    {
      ...web,
      name: "Node fetch",
      skip: false,
      command: (host, port) => [
        join(NODE, "bin/node"),
        "--input-type=module",
        "-e",
        NODE_FETCH,
        https(host, port),
      ],
      read: [NODE],
      large: true,
    },
    {
      ...web,
      name: "undici",
      skip: false,
      command: (host, port) => [join(NODE, "bin/node"), "-e", UNDICI_REQUEST, UNDICI, https(host, port)],
      read: [NODE, UNDICI],
      large: true,
    },
    {
      ...web,
      name: "Python urllib",
      skip: absent("/usr/bin/python3"),
      command: (host, port) => [
        ...[
          "/usr/bin/python3",
          "-c",
          "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())",
        ],
        https(host, port),
      ],
    },
    {
      ...web,
      name: "Python requests",
      skip: absent(REQUESTS),
      command: (host, port) => [
        ...["/usr/bin/python3", "-c", "import sys, requests; print(requests.get(sys.argv[1]).text)"],
        https(host, port),
      ],
    },
    {
      ...web,
      name: "Go net/http",
      skip: ALL ? absent(GO_PROGRAM) : SLOW,
      command: (host, port) => ["./fetch-go", https(host, port)],
    },
    {
      ...web,
      name: "Java HttpClient",
      skip: ALL ? absent(JAVAC) : SLOW,
      command: (host, port) => ["java", "-Xmx256m", "-cp", workspace, "Fetch", https(host, port)],
      // Debian's JDK links to its settings there.
      read: ["/etc/java-17-openjdk"].filter((path) => existsSync(path)),
      large: true,
    },
    {
      name: "psql",
      skip: absent("/usr/bin/psql"),
      server: "postgres",
      command: (host, port) => [
        "psql",
        "-h",
        host,
        "-p",
        `${port}`,
        "-U",
        "tester",
        "-d",
        "postgres",
        "-Atc",
        "select 40 + 2",
      ],
      says: /42/,
      complains: UNRESOLVED,
    },
    {
      name: "redis-cli",
      skip: absent("/usr/bin/redis-cli"),
      server: "redis",
      command: (host, port) => ["redis-cli", "-h", host, "-p", `${port}`, "ping"],
      says: /PONG/,
      complains: UNRESOLVED,
    },
    {
      name: "ssh",
      skip: ssh === undefined ? "there is no sshd" : absent("/usr/bin/ssh"),
      server: "ssh",
      command: (host, port) => [
        ...[
          "bash",
          "-c",
          'echo "[$1]:$2 $3" > /tmp/k && exec ssh -F none -i key -o UserKnownHostsFile=/tmp/k -o BatchMode=yes -p "$2" "$4@$1" x',
        ],
        ...["x", host, `${port}`, ssh?.hostKey ?? "", ssh?.user ?? ""],
      ],
      says: /over ssh/,
      complains: UNRESOLVED,
    },
  ];
}
