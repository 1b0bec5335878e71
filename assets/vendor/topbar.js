export { default } from "topbar"
