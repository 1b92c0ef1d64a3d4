// A controller with its chip. The controller's module may have an input `mutation`, which chooses a fault.

module bench #(
    parameter int ADDRESS = 24,
    parameter int WIDTH = 16,
    parameter int BANKS = 4,
    parameter int ROWS = 8192,
    parameter int COLUMNS = 512,
    parameter int PINS = 13,
    parameter longint PERIOD = 10000,
    parameter longint ROW_CYCLE = 0,
    parameter longint ROW_ACTIVE = 0,
    parameter longint ROW_ACTIVE_MOST = 0,
    parameter longint PRECHARGE = 0,
    parameter longint ACCESS = 0,
    parameter longint OTHER_BANK = 0,
    parameter longint WRITE_RECOVERY = 0,
    parameter longint REFRESH_CYCLE = 0,
    parameter longint REFRESH_INTERVAL = 0,
    parameter int MOST_OWED = 0,
    parameter longint MODE = 0,
    parameter longint POWER_UP = 0,
    parameter longint CLOCK_CAS2 = 0,
    parameter longint CLOCK_CAS3 = 0,
    parameter int FIRST_REFRESHES = 0
) (
    input  logic clk,
    input  logic rst,
    input  logic [15:0] mutation,
    input  logic ask,
    input  logic [31:0] ask_address,
    input  logic [7:0] ask_more,
    input  logic ask_write,
    output logic asked,
    input  logic give,
    input  logic [31:0] give_word,
    output logic given,
    output logic got,
    output logic [31:0] got_word,
    output logic ready,
    input  logic upset,
    input  logic [31:0] upset_address,
    input  logic [31:0] upset_bits,
    output logic [31:0] broken
);
    logic request__valid, request__ready, data__valid, data__ready, valid, pins__drive;
    logic [ADDRESS+8:0] request__payload;
    logic [WIDTH-1:0] data__payload, word, pins__write, pins__read;
    logic [2:0] pins__command;
    logic [$clog2(BANKS)-1:0] pins__bank;
    logic [PINS-1:0] pins__address;

    assign request__valid = ask;
    assign request__payload = {ask_write, ask_more, ask_address[ADDRESS-1:0]};
    assign asked = request__ready;
    assign data__valid = give;
    assign data__payload = give_word[WIDTH-1:0];
    assign given = data__ready;
    assign got = valid;
    assign got_word = 32'(word);

    controller controller (.*);

    sdram_chip #(
        .WIDTH(WIDTH), .BANKS(BANKS), .ROWS(ROWS), .COLUMNS(COLUMNS), .PINS(PINS), .PERIOD(PERIOD),
        .ROW_CYCLE(ROW_CYCLE), .ROW_ACTIVE(ROW_ACTIVE), .ROW_ACTIVE_MOST(ROW_ACTIVE_MOST), .PRECHARGE(PRECHARGE),
        .ACCESS(ACCESS), .OTHER_BANK(OTHER_BANK), .WRITE_RECOVERY(WRITE_RECOVERY), .REFRESH_CYCLE(REFRESH_CYCLE),
        .REFRESH_INTERVAL(REFRESH_INTERVAL), .MOST_OWED(MOST_OWED), .MODE(MODE), .POWER_UP(POWER_UP),
        .CLOCK_CAS2(CLOCK_CAS2), .CLOCK_CAS3(CLOCK_CAS3), .FIRST_REFRESHES(FIRST_REFRESHES)
    ) chip (
        .clk(clk), .command(pins__command), .bank(pins__bank), .address(pins__address), .drive(pins__drive),
        .write(pins__write), .read(pins__read), .upset(upset), .upset_address(upset_address),
        .upset_bits(upset_bits[WIDTH-1:0]), .broken(broken)
    );
endmodule
