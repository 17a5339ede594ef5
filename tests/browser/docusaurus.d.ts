// Declares the parts of Docusaurus, React and Node that the plugin uses, so that the plugin is checked without
// installing them.

declare module "@docent/site-root";
declare module "@docusaurus/router";
declare module "@docusaurus/useDocusaurusContext";
declare module "@docusaurus/utils-common";
declare module "@generated/globalData";
declare module "@generated/i18n";
declare module "@generated/routes";
declare module "node:url";

declare module "node:module" {
  interface Schema {
    string(): Schema;
    required(): Schema;
    custom(check: (value: string, helpers: any) => unknown): Schema;
    [method: string]: any;
  }
  interface Require {
    (path: string): { Joi: Schema };
    resolve(name: string, options: { paths: string[] }): string;
  }
  export function createRequire(from: string): Require;
}

declare module "react" {
  export type ReactNode = unknown;
  export function createElement(...parts: any[]): ReactNode;
  export function useEffect(effect: () => void | (() => void), dependencies: unknown[]): void;
}

declare const process: { env: Record<string, string | undefined>; cwd(): string };

interface DocumentEventMap {
  "docent:navigate": CustomEvent<{ url: string }>;
}
