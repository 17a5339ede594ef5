/** Styles the chat. The custom properties with its colours, such as `--ink`, are set in `../widget.js`. */

/** Marks CSS, so that Prettier formats it and `static/build.rs` squeezes it. */
const css = (/** @type {TemplateStringsArray} */ [text]) => text;

export const STYLES = css`
  /* The frame: a dialog, or a part of the page */
  .panel {
    display: flex;
    flex-direction: column;
    position: relative;
    overflow: clip;
    width: 100%;
    height: 100%;
    background: var(--ground);
    color: var(--ink);
    overflow-wrap: anywhere;
    * {
      box-sizing: border-box;
    }
  }
  dialog.panel {
    position: fixed;
    inset: 0 0 0 auto;
    width: min(34rem, 100vw);
    max-width: none;
    height: 100dvh;
    max-height: none;
    margin: 0;
    padding: 0;
    border: 0;
    box-shadow: 0 0 2rem #0005;
    &:dir(rtl) {
      inset: 0 auto 0 0;
    }
    &:not([open]) {
      display: none;
    }
    &::backdrop {
      background: #0006;
    }
  }
  section.panel {
    border: 1px solid var(--line);
    border-radius: 0.75rem;
  }
  .unseen {
    position: absolute;
    width: 1px;
    height: 1px;
    overflow: hidden;
    clip-path: inset(50%);
  }
  .panel :is(button, textarea) {
    padding: 0.35em 0.8em;
    border: 1px solid var(--line);
    border-radius: 0.5rem;
    background: var(--ground);
    color: inherit;
    font: inherit;
    cursor: pointer;
    &:disabled {
      opacity: 0.6;
      cursor: default;
    }
  }
  .panel a {
    color: var(--accent);
  }
  .panel header {
    display: flex;
    gap: 0.5rem;
    align-items: center;
    padding: 0.6rem 1rem;
    border-bottom: 1px solid var(--line);
    h2 {
      flex: 1;
      margin: 0;
      font-size: 1rem;
    }
    button {
      padding-inline: 0.6em;
      font-size: 0.875em;
    }
  }

  /* The conversation: suggestions, then turns of a question and its answer */
  .log {
    flex: 1;
    overflow: auto;
    padding: 0 1rem;
    overscroll-behavior: contain;
  }
  .intro {
    display: flex;
    flex-direction: column;
    gap: 0.5rem;
    align-items: start;
    padding: 1.5rem 0;
    color: var(--muted);
    button {
      color: var(--ink);
      text-align: start;
    }
  }
  .turn {
    padding: 1rem 0;
    &:last-child {
      min-height: 100%;
    }
    & + & {
      border-top: 1px solid var(--line);
    }
  }
  .question {
    margin: 0 0 0.5rem;
    font-size: 1.05rem;
    white-space: pre-wrap;
    max-height: 12rem;
    overflow: auto;
  }

  /* The answer's Markdown */
  h4,
  h5,
  h6 {
    margin: 1.2em 0 0.4em;
    font-size: 1em;
  }
  .answer h4 {
    font-size: 1.1em;
  }
  .answer > :first-child {
    margin-top: 0;
  }
  p,
  ul,
  ol,
  figure,
  .table {
    margin: 0 0 0.8em;
  }
  p.continued {
    margin-top: -0.8em;
  }
  ul,
  ol {
    padding-inline-start: 1.6em;
  }
  li > * {
    margin-bottom: 0.3em;
  }
  blockquote {
    margin: 0 0 0.8em;
    padding-inline-start: 0.8em;
    border-inline-start: 3px solid var(--line);
    color: var(--muted);
  }
  code {
    padding: 0.1em 0.3em;
    border-radius: 0.25rem;
    background: var(--soft);
    font: 0.875em/1.5 var(--ifm-font-family-monospace, ui-monospace, monospace);
  }
  figure {
    direction: ltr;
    border: 1px solid var(--line);
    border-radius: 0.5rem;
    overflow: clip;
  }
  figcaption {
    display: flex;
    justify-content: space-between;
    align-items: center;
    padding: 0.2rem 0.3rem 0.2rem 0.8rem;
    color: var(--muted);
    font-size: 0.8em;
  }
  pre {
    margin: 0;
    padding: 0.7rem 0.8rem;
    overflow: auto;
    background: var(--soft);
    code {
      display: block;
      padding: 0;
      overflow-wrap: normal;
    }
  }
  .table {
    overflow: auto;
    overflow-wrap: normal;
  }
  table {
    border-collapse: collapse;
  }
  td,
  th {
    padding: 0.3rem 0.6rem;
    border: 1px solid var(--line);
    text-align: start;
    vertical-align: top;
  }
  .center {
    text-align: center;
  }
  .end {
    text-align: end;
  }

  /* Citations and sources */
  .panel .citation {
    padding: 0 0.35em;
    margin-inline: 0.1em;
    border: 0;
    border-radius: 0.3em;
    background: var(--soft);
    color: var(--accent);
    font-size: 0.75em;
    font-weight: 600;
    text-decoration: none;
    vertical-align: 0.25em;
  }
  .sources {
    margin-bottom: 0.8rem;
    color: var(--muted);
    font-size: 0.875rem;
    h4 {
      margin: 0 0 0.3rem;
      font-size: inherit;
    }
    ol {
      display: flex;
      flex-wrap: wrap;
      gap: 0.3rem;
      margin: 0;
      padding: 0;
      list-style: none;
    }
    li {
      max-width: 100%;
    }
  }
  .panel .source {
    display: block;
    max-width: 100%;
    padding: 0.15em 0.6em;
    border: 1px solid var(--line);
    border-radius: 0.5rem;
    overflow: hidden;
    text-overflow: ellipsis;
    white-space: nowrap;
    font-size: inherit;
    text-decoration: none;
    color: var(--muted);
    b {
      display: inline-block;
      margin-inline-end: 0.4em;
      color: var(--accent);
    }
  }
  .cited .source {
    border-color: var(--accent);
    color: var(--ink);
  }

  /* The state of a turn, such as the reason for the end of its answer */
  .state {
    color: var(--muted);
    font-size: 0.875rem;
    p {
      margin: 0 0 0.5rem;
    }
    button {
      margin-inline-end: 0.5rem;
      font-size: inherit;
    }
  }
  .state:not([data-state="answered"]) p {
    padding: 0.4rem 0.8rem;
    border-inline-start: 4px solid #d9a514;
    background: var(--soft);
    color: var(--ink);
  }
  .state:is([data-state="error"], [data-state="cut"]) p {
    border-color: #d33a2c;
  }

  /* The form */
  form {
    display: flex;
    flex-wrap: wrap;
    gap: 0.5rem;
    padding: 0.7rem 1rem;
    border-top: 1px solid var(--line);
  }
  textarea {
    flex: 1;
    min-width: 0;
    max-height: 30vh;
    resize: none;
    field-sizing: content;
    cursor: text;
  }
  .panel .send {
    align-self: end;
    border-color: var(--accent);
    background: var(--accent);
    color: var(--ground);
  }
  small {
    width: 100%;
    color: var(--muted);
  }
  .quote {
    display: flex;
    width: 100%;
    margin: 0;
    align-items: start;
    span {
      flex: 1;
      max-height: 4.6em;
      overflow: auto;
    }
    button {
      border: 0;
    }
  }

  /* The preview of a passage */
  .preview {
    position: absolute;
    z-index: 1;
    width: 20rem;
    max-width: calc(100% - 1rem);
    max-height: 14rem;
    padding: 0.6rem 0.8rem;
    overflow: auto;
    border: 1px solid var(--line);
    border-radius: 0.5rem;
    background: var(--ground);
    box-shadow: 0 4px 16px #0004;
    font-size: 0.875rem;
    p {
      margin: 0.3rem 0 0;
      white-space: pre-wrap;
    }
  }
  @media (max-width: 30rem) {
    .sources ol {
      flex-wrap: nowrap;
      overflow: auto;
    }
    .sources li {
      flex: none;
      max-width: 70%;
    }
  }
`;
